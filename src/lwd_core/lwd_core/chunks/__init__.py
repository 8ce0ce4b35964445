# SPDX-License-Identifier: Apache-2.0
"""Ways of playing action chunks; `lwd_core.chunking` holds what they share."""

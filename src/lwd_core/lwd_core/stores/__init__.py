# SPDX-License-Identifier: Apache-2.0
"""The kinds of stores; `lwd_core.store` is what the rest of the project imports."""

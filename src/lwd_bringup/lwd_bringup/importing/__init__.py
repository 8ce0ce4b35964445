# SPDX-License-Identifier: Apache-2.0
"""Other people's recordings as episodes of a store."""

# SPDX-License-Identifier: Apache-2.0
"""Recorded episodes in the formats of other people's tools, and back."""

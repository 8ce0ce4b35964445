# SPDX-License-Identifier: Apache-2.0
"""The graph as data, its starters, the `lwd` command and the demonstration."""

__version__ = '0.1.0'

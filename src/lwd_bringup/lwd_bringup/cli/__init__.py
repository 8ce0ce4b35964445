# SPDX-License-Identifier: Apache-2.0
"""The `lwd` command. Modules import what is slow inside their commands: --help must be quick."""

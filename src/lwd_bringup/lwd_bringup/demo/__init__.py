# SPDX-License-Identifier: Apache-2.0
"""The demonstration: the whole loop on one machine, measured, with a report."""

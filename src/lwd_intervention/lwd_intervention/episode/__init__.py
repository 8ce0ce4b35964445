# SPDX-License-Identifier: Apache-2.0
"""Episodes of one robot: their phases, what they wait for, and their labels."""

# SPDX-License-Identifier: Apache-2.0
"""Parts of benchmarks/learning_table.py."""

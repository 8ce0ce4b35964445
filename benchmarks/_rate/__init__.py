# SPDX-License-Identifier: Apache-2.0
"""Parts of benchmarks/control_rate.py, each a process of its own."""

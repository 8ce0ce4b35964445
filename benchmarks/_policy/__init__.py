# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of the policy node share: checkpoints, and everything around the node."""

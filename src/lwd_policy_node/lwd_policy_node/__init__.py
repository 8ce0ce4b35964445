# SPDX-License-Identifier: Apache-2.0
"""Flow-policy inference at control rate with hot reload of checkpoints between episodes."""

# SPDX-License-Identifier: Apache-2.0
"""Who drives the robot: decided, guarded and answered tick by tick. Pure but for the deadline."""

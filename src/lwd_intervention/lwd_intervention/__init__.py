# SPDX-License-Identifier: Apache-2.0
"""Who drives the robot: the arbiter between policy and person, and the episode state machine."""

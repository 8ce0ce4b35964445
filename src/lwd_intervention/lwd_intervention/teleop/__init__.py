# SPDX-License-Identifier: Apache-2.0
"""Teleoperation without rclpy: device mapping, deadman, loss rules, IK, leader arms, session."""

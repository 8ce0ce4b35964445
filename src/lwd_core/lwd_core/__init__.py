# SPDX-License-Identifier: Apache-2.0
"""What robot and learner must agree on. Imports no rclpy."""

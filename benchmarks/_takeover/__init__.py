# SPDX-License-Identifier: Apache-2.0
"""What takeover.py measures with: the robot's driver, the person, and the load."""

# SPDX-License-Identifier: Apache-2.0
"""Set up the workspace: environment, ROS 2, colcon build. Standard library only."""

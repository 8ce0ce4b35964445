# SPDX-License-Identifier: Apache-2.0
"""Start the `replay` graph; `--show-args` lists what can be set."""

from launch import LaunchDescription
from lwd_bringup.graph.ros_launch import describe


def generate_launch_description() -> LaunchDescription:
    """Return the graph's arguments and nodes as launch actions."""
    return describe('replay')

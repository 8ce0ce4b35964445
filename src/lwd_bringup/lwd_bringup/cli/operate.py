# SPDX-License-Identifier: Apache-2.0
"""`lwd operate`: the operator's view of one robot in a terminal."""

import os
from typing import Annotated

import typer


def operate(
    robot: Annotated[str, typer.Argument(help='Name of the robot: its namespace.')] = 'robot1',
    domain: Annotated[int | None, typer.Option(
        min=0, max=101, help='ROS_DOMAIN_ID to use.')] = None,
) -> None:
    """Watch a robot: who drives, deadman, task, time left, checkpoint, clamps, alarms."""
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    if domain is not None:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
    from lwd_bringup.operate.operate_node import operate as show
    show(robot)

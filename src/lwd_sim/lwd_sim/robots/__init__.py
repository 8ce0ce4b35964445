# SPDX-License-Identifier: Apache-2.0
"""Which simulation moves a robot: the cell's own two arms, or the one its robot file names.

`mjcf: package://openarm_mujoco/...` in a robot file is OpenArm, from the PyPI package
openarm-mujoco. The nodes are the same for all.
"""
from typing import Any

from lwd_core.robot import RobotSpec
from lwd_core.spec import SpecError
from lwd_sim.operating import ScriptedOperator
from lwd_sim.simulation import Imperfections, SimulatedRobot
from lwd_sim.supervisor import SupervisorConfig

PACKAGE = 'package://'
OPENARM = 'package://openarm_mujoco/'


def make_robot(robot: RobotSpec, task: str, seed: int, imperfections: Imperfections) -> Any:
    """Return the simulated robot; raises SpecError for a simulation that there is none of."""
    if _is_openarm(robot):
        from lwd_sim.robots.openarm import OpenArm
        return OpenArm(robot, task, seed, imperfections)
    return SimulatedRobot(robot, task, seed, imperfections)


def make_operator(robot: RobotSpec, supervises: bool, noise: float,
                  config: SupervisorConfig) -> Any:
    """Return the scripted operator of the robot's tasks."""
    if _is_openarm(robot):
        from lwd_sim.robots.openarm_operator import ReachingOperator
        return ReachingOperator(robot, supervises, noise, config)
    return ScriptedOperator(supervises, noise, config)


def _is_openarm(robot: RobotSpec) -> bool:
    mjcf = robot.mjcf or ''
    if mjcf.startswith(OPENARM):
        return True
    if mjcf.startswith(PACKAGE):
        raise SpecError(f'robot {robot.name!r}: mjcf: is {mjcf!r}; of packages, the simulation '
                        f'knows {OPENARM}v2/openarm_bimanual.xml')
    return False

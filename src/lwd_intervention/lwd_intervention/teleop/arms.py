# SPDX-License-Identifier: Apache-2.0
"""Which joints are an arm, where its tool and its base are: a YAML file beside a kinematic model.

model: sim.xml                 # MJCF or URDF, relative to this file
arms:
left: {base: left/base, tool: left/tcp, jaw: left/jaw}     # joints: those named 'left/...'
task_frame: {rpy: [0.0, 0.0, 1.57]}                          # in the model's world
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lwd_core.robot import RobotSpec
from lwd_core.spec import check_number, Fields, load_yaml, SpecError


@dataclass(frozen=True)
class Arm:
    """One arm: names of a model's site or body, and joints of the robot file."""

    name: str
    base: str                    # body or site whose axes are the base frame
    tool: str                    # body or site that is moved
    joints: tuple[str, ...]      # of robot file and model alike
    jaw: str = ''                # joint of the robot file; '' if the arm has none


@dataclass(frozen=True)
class Arms:
    """A robot's arms and the model they are computed on."""

    model: Path
    arms: tuple[Arm, ...]
    task_rpy: tuple[float, float, float] = (0.0, 0.0, 0.0)   # rad, task frame in the world

    @property
    def names(self) -> tuple[str, ...]:
        """Return the arms' names in file order."""
        return tuple(arm.name for arm in self.arms)

    @classmethod
    def from_yaml(cls, path: str | Path, robot: RobotSpec) -> Arms:
        """Read and validate an arms file; SpecError names file, key, value and bound."""
        return cls.from_dict(load_yaml(path), robot, Path(path).parent, str(path))

    @classmethod
    def from_dict(cls, data: Any, robot: RobotSpec, folder: Path, where: str) -> Arms:
        """Validate plain data; a relative `model` is looked for in `folder`."""
        fields = Fields(data, where)
        model = folder / fields.text('model', robot.mjcf or ...)
        if not model.is_file():
            raise fields.error('model', f'{model} is no file; name an MJCF or URDF file, relative '
                               'to this one')
        section = fields.take('arms')
        if not isinstance(section, Map) or not section:
            raise fields.error('arms', f'is {section!r}, must be a mapping of arms')
        arms = tuple(_arm(str(name), item, robot, f'{where}: arms: {name}')
                     for name, item in section.items())
        task = Fields(fields.take('task_frame', {}), f'{where}: task_frame')
        rpy = task.sequence('rpy', [0.0, 0.0, 0.0])
        if len(rpy) != 3:
            raise task.error('rpy', f'is {rpy!r}, must be roll, pitch and yaw in rad')
        angles = [check_number(angle, f'{task.where}: rpy') for angle in rpy]
        task.done()
        fields.done()
        return cls(model, arms, (angles[0], angles[1], angles[2]))


def _arm(name: str, data: Any, robot: RobotSpec, where: str) -> Arm:
    fields = Fields(data, where)
    jaw = str(fields.take('jaw', ''))
    default = [joint for joint in robot.joint_names
               if joint.startswith(f'{name}/') and joint != jaw]
    joints = tuple(str(joint) for joint in fields.sequence('joints', default))
    if not joints:
        raise fields.error('joints', f"is empty and robot {robot.name!r} has no joint '{name}/...'")
    for joint in (*joints, *([jaw] if jaw else [])):
        if joint not in robot.joint_names:
            raise SpecError(f'{where}: joint {joint!r} is not one of robot {robot.name!r}; it has '
                            f'{", ".join(robot.joint_names)}')
    arm = Arm(name, fields.text('base'), fields.text('tool'), joints, jaw)
    fields.done()
    return arm

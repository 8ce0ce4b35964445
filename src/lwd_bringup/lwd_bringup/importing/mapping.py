# SPDX-License-Identifier: Apache-2.0
"""A mapping YAML: which of a foreign recording's names are which of ours.

joint_states: /joint_states              # topic (rosbag2) or column (LeRobot)
command: /position_controller/commands   # what was sent; absent: where the joints went next
cameras: {head: /cam_high/image_raw/compressed}
joints: {left_waist: waist_l}            # ours: theirs, where they differ
command_joints: [waist_l, ...]           # order of a Float64MultiArray or of columns' entries
scale: {left_gripper: 0.0175}            # theirs times this is ours
offset: {left_gripper: 0.0}              # added after scaling
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lwd_bringup.export.errors import ExchangeError
from lwd_core.robot import RobotSpec
from lwd_core.spec import load_yaml

_KEYS = ('joint_states', 'command', 'cameras', 'joints', 'command_joints', 'scale', 'offset')


@dataclass(frozen=True)
class Mapping:
    """See the module's docstring."""

    joint_states: str = 'joint_states'
    command: str = ''
    cameras: dict[str, str] = field(default_factory=dict)
    joints: dict[str, str] = field(default_factory=dict)
    command_joints: tuple[str, ...] = ()
    scale: dict[str, float] = field(default_factory=dict)
    offset: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_yaml(cls, path: Path, robot: RobotSpec) -> Mapping:
        """Read and check a file; ExchangeError naming file, key, value and bound."""
        return cls.from_dict(load_yaml(path), robot, str(path))

    @classmethod
    def from_dict(cls, data: Any, robot: RobotSpec, where: str) -> Mapping:
        """Check plain data."""
        if not isinstance(data, dict):
            raise ExchangeError(f'{where}: is {data!r}, must map names')
        for key in data:
            if key not in _KEYS:
                raise ExchangeError(f'{where}: unknown key {key!r}, keys are {", ".join(_KEYS)}')
        made = cls(**{**data, 'command_joints': tuple(data.get('command_joints', ()))})
        for key in ('cameras', 'joints', 'scale', 'offset'):
            known = robot.camera_names if key == 'cameras' else robot.joint_names
            for name in getattr(made, key):
                if name not in known:
                    raise ExchangeError(f'{where}: {key}: {name!r} is not of robot '
                                        f'{robot.name!r}, which has {", ".join(known)}')
        return made

    def theirs(self, joint: str) -> str:
        """Return what a joint of ours is called there."""
        return self.joints.get(joint, joint)

    def vector(self, robot: RobotSpec, names: tuple[str, ...], values: Any,
               where: str) -> np.ndarray:
        """Return `values` (by their `names`) in our order and units, float64 [J]."""
        by_name = dict(zip(names, values))
        missing = [name for name in robot.joint_names if self.theirs(name) not in by_name]
        if missing:
            raise ExchangeError(f'{where}: has no {self.theirs(missing[0])!r} for joint '
                                f'{missing[0]!r} (it has {", ".join(names) or "no names"}): name '
                                'it under `joints` in the mapping')
        vector = np.array([
            by_name[self.theirs(name)] * self.scale.get(name, 1.0) + self.offset.get(name, 0.0)
            for name in robot.joint_names], np.float64)
        if not np.isfinite(vector).all():
            worst = robot.joint_names[int(np.flatnonzero(~np.isfinite(vector))[0])]
            raise ExchangeError(f'{where}: {worst} is not finite')
        return vector


def check_limits(robot: RobotSpec, vectors: list[np.ndarray], where: str) -> None:
    """Refuse positions far outside the robot's limits: another unit, or another order."""
    values = np.stack(vectors)
    for index, joint in enumerate(robot.joints):
        slack = 0.1 * (joint.upper - joint.lower)
        low, high = float(values[:, index].min()), float(values[:, index].max())
        if low < joint.lower - slack or high > joint.upper + slack:
            raise ExchangeError(
                f'{where}: {joint.name} goes from {low:.3g} to {high:.3g}, its limits are '
                f'{joint.lower:g} to {joint.upper:g}: give `scale` and `offset`, or another order '
                'of `command_joints`')

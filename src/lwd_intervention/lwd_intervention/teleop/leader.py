# SPDX-License-Identifier: Apache-2.0
"""Leader arms: a person moves a pair of small arms, the robot's joints follow.

Two ways to begin, since at a takeover leader and robot never stand alike:

    clutch  the robot follows the leader's motion from where it stands; pressing the deadman again
            grips anew, so the leader's reach is never used up
    match   the robot moves slowly to the leader's posture (ALIGNING), then follows it one to one

Every step is bounded in velocity, so neither a jump of the leader nor a bad offset can jerk.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lwd_core.clock import NS_PER_S
from lwd_core.robot import RobotSpec
from lwd_core.spec import Fields, load_yaml
from lwd_intervention.arbiter.records import Vector
from lwd_intervention.teleop.controls import JoySample
from lwd_intervention.teleop.source import Step


@dataclass(frozen=True)
class LeaderConfig:
    """How the robot follows; angles in rad, jaws as fraction open."""

    align: str = 'clutch'
    align_speed: float = 0.4      # rad/s while it moves to meet the leader
    speed_share: float = 0.8      # of the joints' speed limits while following
    aligned_within: float = 0.05  # rad
    max_mismatch: float = 1.5     # rad; a leader farther off is refused in `match`
    max_age: float = 0.15         # s


@dataclass(frozen=True)
class LeaderJoint:
    """robot = sign * scale * leader + offset."""

    name: str
    scale: float = 1.0            # with its sign
    offset: float = 0.0


def load_leader(path: str, robot: RobotSpec) -> dict[str, LeaderJoint]:
    """Read a leader file (`joints: {ROBOT_JOINT: {name, scale, offset}}`); '': equal names."""
    if not path:
        return {name: LeaderJoint(name) for name in robot.joint_names}
    fields = Fields(load_yaml(path), path)
    joints = {}
    for name, item in dict(fields.take('joints')).items():
        if name not in robot.joint_names:
            raise fields.error('joints', f'has {name!r}; robot {robot.name!r} has '
                               f'{", ".join(robot.joint_names)}')
        inner = Fields(item, f'{path}: joints: {name}')
        joints[str(name)] = LeaderJoint(
            inner.text('name'), inner.number('scale', default=1.0, above=-1e3, at_most=1e3),
            inner.number('offset', default=0.0, above=-1e3, at_most=1e3))
        inner.done()
    fields.done()
    return joints


class LeaderSource:
    """Follows the leader's joints of every arm whose deadman is held."""

    name = 'leader'

    def __init__(self, robot: RobotSpec, joints: dict[str, LeaderJoint], arms: tuple[str, ...],
                 config: LeaderConfig | None = None) -> None:
        """`joints`: by the robot's joint name; a joint belongs to the arm its name begins with."""
        self.config, self.arms, self._robot = config or LeaderConfig(), arms, robot
        self._dt = robot.period_ns / NS_PER_S
        names = [name for name in robot.joint_names if name in joints]
        self._at = np.array([robot.joint_names.index(name) for name in names], dtype=int)
        self._names = names
        self._leader = [joints[name] for name in names]
        self._arm = [next((arm for arm in arms if name.startswith(f'{arm}/')), '')
                     for name in names]
        specs = [robot.joints[i] for i in self._at]
        self._lower = np.array([joint.lower for joint in specs])
        self._upper = np.array([joint.upper for joint in specs])
        self._speed = self.config.speed_share * np.array([joint.velocity for joint in specs])
        self._jaw = np.array([(joint.lower, joint.upper) == (0.0, 1.0) for joint in specs])
        self._posture: Vector | None = None     # the leader's, in the robot's joints
        self._stamp = 0
        self._fault = ''
        self._command = np.zeros(robot.action_dim)
        self._offset = np.zeros(len(names))
        self._aligned = dict.fromkeys(arms, False)

    def on_leader(self, names: Sequence[str], positions: Sequence[float], stamp_ns: int) -> None:
        """Take the leader's JointState."""
        by_name = dict(zip(names, positions))
        missing = [joint.name for joint in self._leader if joint.name not in by_name]
        values = [by_name.get(joint.name, 0.0) * joint.scale + joint.offset
                  for joint in self._leader]
        if missing:
            self._fault = f'leader lacks joint {missing[0]}'
        elif not np.isfinite(values).all():
            bad = self._leader[int(np.flatnonzero(~np.isfinite(values))[0])].name
            self._fault = f'leader joint {bad} is not finite'
        else:
            self._fault, self._posture = '', np.clip(values, self._lower, self._upper)
        self._stamp = max(self._stamp, stamp_ns)

    @property
    def moving(self) -> bool:
        """Return False: a leader that stands asks for nothing, so it cannot be frozen."""
        return False

    def trouble(self, now_ns: int) -> str:
        """Return why the leader is not to be trusted now, or ''."""
        if self._fault:
            return self._fault
        if self._posture is None:
            return 'no joint state of the leader yet'
        age = (now_ns - self._stamp) / NS_PER_S
        return f'leader is silent for {age:.2f} s' if age > self.config.max_age else ''

    def look(self, sample: JoySample) -> None:
        """Ignore sticks: the Joy topic carries pedals and buttons only."""

    def act(self, action: str) -> str:
        """Carry out nothing: there is no frame and no selection."""
        return ''

    def status(self) -> dict[str, object]:
        """Return what TeleopStatus shows."""
        return {'frame': '', 'slow': False, 'selected': self.arms}

    def begin(self, start: Vector) -> None:
        """Grip: remember the offset (clutch), or begin to meet the leader (match)."""
        self._command = np.array(start, dtype=float)
        posture = self._command[self._at] if self._posture is None else self._posture
        self._offset = self._command[self._at] - posture
        if self.config.align == 'match':
            self._offset[:] = 0.0
        self._offset[self._jaw] = 0.0           # a jaw is where the handle is, never relative
        self._aligned = dict.fromkeys(self.arms, self.config.align == 'clutch')

    def step(self, now_ns: int, held: Map[str, bool], measured: Vector | None) -> Step:
        """Return the positions of this tick."""
        scales, reasons = dict.fromkeys(self.arms, 1.0), []
        assert self._posture is not None
        target = np.clip(self._posture + self._offset, self._lower, self._upper)
        for arm in self.arms:
            mine = np.array([owner == arm for owner in self._arm])
            if not held.get(arm, False) or not mine.any():
                continue
            error = target[mine] - self._command[self._at[mine]]
            joints = np.abs(error) * ~self._jaw[mine]
            worst = int(np.argmax(joints))
            name = np.array(self._names)[mine][worst]
            if not self._aligned[arm] and joints[worst] > self.config.max_mismatch:
                scales[arm] = 0.0
                reasons.append(f'leader is {joints[worst]:.1f} rad off at {name}; bring it within '
                               f'{self.config.max_mismatch:g}')
                continue
            self._aligned[arm] |= bool(joints[worst] <= self.config.aligned_within)
            speed = self._speed[mine]
            if not self._aligned[arm]:
                speed = np.where(self._jaw[mine], speed,
                                 np.minimum(speed, self.config.align_speed))
            most = speed * self._dt
            ratio = float(np.max(np.abs(error) / most))
            if ratio > 1.0:
                scales[arm] = 1.0 / ratio
                reasons += [f'{name} at its speed limit'] if self._aligned[arm] else []
            self._command[self._at[mine]] += np.clip(error, -most, most)
        aligned = all(self._aligned[arm] for arm in self.arms
                      if held.get(arm, False) and arm in self._arm)
        return Step(self._command.copy(), scales, '; '.join(reasons), aligned)

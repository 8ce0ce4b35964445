# SPDX-License-Identifier: Apache-2.0
"""Sticks to joints: deflection to twist in a chosen frame, twist to joints by IK, jaw by rate."""

from __future__ import annotations

from collections.abc import Mapping as Map

import numpy as np

from lwd_core.clock import NS_PER_S
from lwd_core.robot import RobotSpec
from lwd_intervention.arbiter.records import Vector
from lwd_intervention.teleop.arms import Arms
from lwd_intervention.teleop.controls import deflections, JoySample
from lwd_intervention.teleop.ik import ArmIK, load_model
from lwd_intervention.teleop.mapping import Mapping
from lwd_intervention.teleop.source import Step

FRAMES = ('base', 'tool', 'task')
JAW_RANGE = (0.02, 0.98)   # just inside the limits: the guard would brake before them
LEASH = 0.35               # rad a command may lead the measured joint: an arm held back stays so


class JoystickSource:
    """Moves the selected arms whose deadman is held."""

    name = 'joystick'

    def __init__(self, mapping: Mapping, arms: Arms, robot: RobotSpec) -> None:
        """Load the model; SpecError names a joint, tool or base that it lacks."""
        self.mapping, self.arms, self._robot = mapping, arms.names, robot
        self._dt = robot.period_ns / NS_PER_S
        home = dict(zip(robot.joint_names, robot.home))
        model = load_model(str(arms.model))
        self._ik = {arm.name: ArmIK(model, arm, robot,
                                    np.array([home[joint] for joint in arm.joints]))
                    for arm in arms.arms}
        order = robot.joint_names.index
        self._at = {arm.name: [order(joint) for joint in arm.joints] for arm in arms.arms}
        self._jaw = {arm.name: order(arm.jaw) for arm in arms.arms if arm.jaw}
        self._task = _rotation(arms.task_rpy)
        self._layers = list(dict.fromkeys(
            layer for layers in mapping.layers.values() for layer in layers))
        self.frame, self.layer, self.slow = FRAMES[0], self._layers[0], False
        # Sticks shared by all arms move one at a time until both are selected.
        shared = '' in mapping.layers
        self.selected = self.arms[:1] if shared else self.arms
        self._sample: JoySample | None = None
        self._command = np.zeros(robot.action_dim)
        self._twist = {arm: np.zeros(6) for arm in self.arms}
        self._jaw_goal: dict[str, float] = {}

    # -- what the person does ----------------------------------------------------------------

    @property
    def moving(self) -> bool:
        """Tell whether any selected arm's sticks are out of the middle."""
        return any(self._asked(arm).any() for arm in self.selected)

    def trouble(self, now_ns: int) -> str:
        """Return '': what can go wrong is with the Joy topic, which the session watches."""
        return ''

    def look(self, sample: JoySample) -> None:
        """Take the sticks."""
        self._sample = sample

    def act(self, action: str) -> str:
        """Change frame, layer, speed or selection, or let the jaws of the selection open, close."""
        if action == 'frame':
            self.frame = FRAMES[(FRAMES.index(self.frame) + 1) % len(FRAMES)]
            return f'{self.frame} frame'
        if action == 'layer':
            self.layer = self._layers[(self._layers.index(self.layer) + 1) % len(self._layers)]
            return f'sticks: {self.layer}'
        if action == 'slow':
            self.slow = not self.slow
            return 'slow' if self.slow else 'fast'
        if action == 'jaw_toggle':
            return self._toggle_jaws()
        if action.startswith('select_'):
            which = action.removeprefix('select_')
            self.selected = self.arms if which == 'both' else tuple(
                arm for arm in self.arms if arm == which)
            return f'moves {" and ".join(self.selected) or "no"} arm'
        return ''

    def _toggle_jaws(self) -> str:
        for arm in self.selected:
            if arm in self._jaw:
                middle = sum(JAW_RANGE) / 2
                opens = self._jaw_goal.get(arm, self._command[self._jaw[arm]]) < middle
                self._jaw_goal[arm] = JAW_RANGE[1] if opens else JAW_RANGE[0]
        return 'jaw'

    def status(self) -> dict[str, object]:
        """Return frame, speed and selection."""
        return {'frame': self.frame, 'slow': self.slow, 'selected': self.selected}

    # -- ticks -------------------------------------------------------------------------------

    def begin(self, start: Vector) -> None:
        """Start from the positions [d] sent last, at rest."""
        self._command = np.array(start, dtype=float)
        self._jaw_goal.clear()
        for arm in self.arms:
            self._twist[arm][:] = 0.0
            self._ik[arm].begin(self._command[self._at[arm]])

    def step(self, now_ns: int, held: Map[str, bool], measured: Vector | None) -> Step:
        """Return the positions of this tick."""
        scales, reasons = dict.fromkeys(self.arms, 1.0), []
        for arm in self.arms:
            if not held.get(arm, False) or arm not in self.selected:
                self._twist[arm][:] = 0.0
                continue
            scales[arm], reason = self._move(arm, measured)
            reasons += [reason] if reason else []
            self._move_jaw(arm)
        return Step(self._command.copy(), scales, '; '.join(reasons))

    def _move(self, arm: str, measured: Vector | None) -> tuple[float, str]:
        at, ik = self._at[arm], self._ik[arm]
        speed = self.mapping.speed
        share = speed.slow if self.slow else 1.0
        full = share * np.array([speed.linear] * 3 + [speed.angular] * 3)
        goal = full * self._asked(arm)[:6]
        if speed.ramp > 0.0 and goal.any():    # a stick let go stops at once
            change = full * self._dt / speed.ramp
            goal = self._twist[arm] + np.clip(goal - self._twist[arm], -change, change)
        self._twist[arm] = goal
        step = ik.step(self._command[at], self._in_world(arm, goal), self._dt)
        joints, reason = step.joints, step.reason
        if measured is not None:
            near = np.clip(joints, measured[at] - LEASH, measured[at] + LEASH)
            if not np.array_equal(near, joints):
                behind = ik.arm.joints[int(np.argmax(np.abs(near - joints)))]
                joints = np.clip(near, ik.lower, ik.upper)
                reason = f'{behind} does not follow, is the arm blocked?'
        self._command[at] = joints
        return step.scale, reason

    def _move_jaw(self, arm: str) -> None:
        if arm not in self._jaw:
            return
        at = self._jaw[arm]
        rate = self._asked(arm)[6]
        most = self.mapping.speed.jaw * self._dt
        if rate:
            self._jaw_goal.pop(arm, None)
            change = rate * most
        elif arm in self._jaw_goal:
            change = float(np.clip(self._jaw_goal[arm] - self._command[at], -most, most))
        else:
            return
        self._command[at] = np.clip(self._command[at] + change, *JAW_RANGE)

    def _asked(self, arm: str) -> Vector:
        if self._sample is None:
            return np.zeros(7)
        return deflections(self.mapping, self._sample, arm, self.layer)

    def _in_world(self, arm: str, twist: Vector) -> Vector:
        """Return a twist [6] of the chosen frame in the model's world axes."""
        ik = self._ik[arm]
        if self.frame == 'tool':
            axes = ik.pose(self._command[self._at[arm]])[1]
        else:
            axes = ik.base_rotation() if self.frame == 'base' else self._task
        return np.concatenate([axes @ twist[:3], axes @ twist[3:]])


def _rotation(rpy: tuple[float, float, float]) -> Vector:
    """Return the rotation [3, 3] of roll, pitch, yaw [rad] about fixed axes (REP-103)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    return np.array([[cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
                     [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
                     [-sp, cp * sr, cp * cr]])

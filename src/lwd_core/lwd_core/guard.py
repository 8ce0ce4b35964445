# SPDX-License-Identifier: Apache-2.0
"""The command guard: nothing leaves for the motors outside the robot file's limits.

Every sent position lies in the position box, at most `velocity * dt` from the one before, with a
change of velocity of at most `acceleration * dt`. The three hold together at every tick because a
joint never moves so fast towards its limit that it could not stop before it:

    v dt + v^2 / (2 a) <= d        d: distance left, v: velocity of this step

Where the robot file gives a jerk, commands are smoothed until it holds (`guard_smooth.py`). Where
it gives a workspace, a step is taken only if it and the whole way to a stop after it stay inside
(`guard_shield.py`); otherwise the joints brake, along the way that was looked at before.

A request that can be followed is sent bit for bit; one that cannot is approached as fast as the
limits allow until its position and velocity are met; an invalid one brakes to a stop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from lwd_core.guard_shield import Shield, Workspace
from lwd_core.guard_smooth import Smoother
from lwd_core.robot import RobotSpec

Vector = NDArray[np.float64]


class Clamp(IntFlag):
    """Bits of ExecutedAction.clamped."""

    NONE = 0
    POSITION = 1
    VELOCITY = 2
    ACCELERATION = 4
    INVALID = 8
    WORKSPACE = 16
    JERK = 32


@dataclass(frozen=True)
class GuardResult:
    """`sent` [d] is safe to send; None only while no position of the robot is known."""

    sent: Vector | None
    clamped: Clamp
    explain: Callable[[], tuple[str, ...]] = tuple

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return what was clamped and why; made on demand, since the tick cannot wait for it."""
        return self.explain()


class CommandGuard:
    """Limit requests to what the robot file allows; remembers the velocity of what was sent."""

    def __init__(self, robot: RobotSpec, workspace: Workspace | None = None) -> None:
        """Take the limits from the robot file; `workspace` judges its boxes and distances."""
        joints = robot.joints
        self.names = tuple(joint.name for joint in joints)
        self.lower = np.array([joint.lower for joint in joints], dtype=np.float64)
        self.upper = np.array([joint.upper for joint in joints], dtype=np.float64)
        self.velocity = np.array([joint.velocity for joint in joints], dtype=np.float64)
        self.acceleration = np.array([joint.acceleration for joint in joints], dtype=np.float64)
        self._dim = len(joints)
        self._smoother = Smoother.for_robot(robot)
        self._shield = None if workspace is None else Shield(workspace)
        self.reset()

    @property
    def at_rest(self) -> bool:
        """Tell whether the commands stand still."""
        return not self._moving.any() and self._smoother.at_rest

    def reset(self) -> None:
        """Forget what was sent: the next check starts at rest from the measured position."""
        self._sent: Vector | None = None
        self._stop(np.zeros(self._dim))

    def _stop(self, position: Vector) -> None:
        self._planned = position  # [d], of the last step before smoothing
        self._smoother.start(position)
        self._moving = np.zeros(self._dim)  # rad/s, of the step that led to _planned
        self._target: Vector | None = None  # of the request before
        self._behind = np.zeros(self._dim, dtype=bool)  # joints that have to catch up with it

    def check(
        self, requested: Sequence[float] | Vector, previous_sent: Vector | None,
        measured: Vector | None, dt: float, names: Sequence[str] | None = None,
    ) -> GuardResult:
        """Return what may be sent for `requested` [d], `dt` seconds after `previous_sent` [d].

        previous_sent: None before the first command; `measured` [d] is the start then.
        names: joint names of the request, any order; None means the robot file's order.
        """
        try:
            start = self._start(previous_sent, measured, dt)
        except ValueError as error:
            return _invalid(None, error)
        try:
            request = self._valid(requested, names)
        except ValueError as error:
            return _invalid(self._brake(start, dt), error)
        return self._limit(request, start, dt)

    def hold(self, previous_sent: Vector | None, measured: Vector | None, dt: float) -> GuardResult:
        """Return the next position on the way to a stop, the position itself once at rest."""
        try:
            start = self._start(previous_sent, measured, dt)
        except ValueError as error:
            return _invalid(None, error)
        return GuardResult(self._brake(start, dt), Clamp.NONE)

    def _start(self, previous: Vector | None, measured: Vector | None, dt: float) -> Vector:
        if not 0.0 < dt < 1.0:
            raise ValueError(f'dt: {dt} s, must be between 0 and 1')
        if previous is not None and self._sent is not None and (
                previous is self._sent or np.array_equal(previous, self._sent)):
            return self._planned
        for position in (previous, measured):
            if position is not None and self._sound(position):
                start = np.clip(position, self.lower, self.upper)
                self._stop(start)
                return start
        raise ValueError('position: no finite joint state yet, nothing to hold')

    def _sound(self, position: Vector) -> bool:
        return np.shape(position) == (self._dim,) and bool(np.isfinite(position).all())

    def _valid(self, requested: Sequence[float] | Vector, names: Sequence[str] | None) -> Vector:
        try:
            request = np.asarray(requested, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f'positions: not numbers ({error})') from error
        if names is not None and tuple(names) != self.names:
            request = self._reorder(request, list(names))
        if request.shape != (self._dim,):
            raise ValueError(f'positions: shape {request.shape}, must be ({self._dim},)')
        if not np.isfinite(request).all():
            joint = self.names[int(np.flatnonzero(~np.isfinite(request))[0])]
            raise ValueError(f'positions: {joint} is not finite')
        return request

    def _reorder(self, request: Vector, names: list[str]) -> Vector:
        if sorted(names) != sorted(self.names):
            strange = sorted(set(names) ^ set(self.names)) or sorted(names)
            raise ValueError(
                f'joint_names: {strange[0]!r} unknown, missing or twice; '
                f'the robot has {", ".join(self.names)}')
        if request.shape != (self._dim,):
            raise ValueError(f'positions: shape {request.shape}, must be ({self._dim},)')
        return request[[names.index(name) for name in self.names]]

    def _limit(self, request: Vector, start: Vector, dt: float) -> GuardResult:
        target = np.minimum(np.maximum(request, self.lower), self.upper)
        wanted = (target - start) / dt
        low, high = self._velocity_range(start, dt)
        pace = self._target_velocity(target, dt)
        self._target = target
        # A joint that was left behind must meet the request's velocity too, or it would overshoot.
        follows = (wanted >= low) & (wanted <= high) & (
            ~self._behind | (np.abs(wanted - pace) <= self.acceleration * dt))
        clamped = Clamp.NONE if (target == request).all() else Clamp.POSITION
        if follows.all():
            return self._send(start, target, wanted, dt, follows, clamped,
                              lambda: self._explain_positions(request, target))
        lag = target - start - pace * dt
        steer = pace + np.sign(lag) * self._stopping_velocity(np.abs(lag), dt)
        velocity = np.where(follows, wanted, np.minimum(np.maximum(steer, low), high))
        too_fast = np.abs(wanted) > self.velocity
        if too_fast.any():
            clamped |= Clamp.VELOCITY
        if (~follows & (np.abs(velocity) < self.velocity)).any():
            clamped |= Clamp.ACCELERATION
        sent = np.where(follows, target, start + velocity * dt)
        return self._send(start, sent, velocity, dt, follows, clamped, lambda: (
            *self._explain_positions(request, target),
            *(f'{self.names[i]}: {wanted[i]:.3g} /s asked, {velocity[i]:.3g} /s sent'
              for i in np.flatnonzero(~follows))))

    def _target_velocity(self, target: Vector, dt: float) -> Vector:
        if self._target is None:
            return np.zeros(self._dim)
        pace = (target - self._target) / dt
        return np.where(np.abs(pace) <= self.velocity, pace, 0.0)  # faster is a jump, no motion

    def _explain_positions(self, request: Vector, target: Vector) -> tuple[str, ...]:
        return tuple(
            f'{self.names[i]}: {request[i]:.4g} outside {self.lower[i]:.4g} to {self.upper[i]:.4g}'
            for i in np.flatnonzero(request != target))

    def _velocity_range(self, start: Vector, dt: float) -> tuple[Vector, Vector]:
        """Return the velocities [d] this step may have; the position limits have the last word."""
        change = self.acceleration * dt
        most = self._stopping_velocity(self.upper - start, dt)
        least = -self._stopping_velocity(start - self.lower, dt)
        low = np.maximum(-self.velocity, self._moving - change)
        high = np.minimum(self.velocity, self._moving + change)
        return np.minimum(np.maximum(low, least), most), np.minimum(np.maximum(high, least), most)

    def _stopping_velocity(self, distance: Vector, dt: float) -> Vector:
        """Solve v dt + v^2 / (2 a) = distance for v, in the form that is exact for large a."""
        room = np.maximum(distance, 0.0)
        return 2.0 * room / (dt + np.sqrt(dt * dt + 2.0 * room / self.acceleration))

    def _braked(self, velocity: Vector, dt: float) -> Vector:
        change = self.acceleration * dt
        braked: Vector = velocity - np.clip(velocity, -change, change)
        return braked

    def _brake(self, start: Vector, dt: float) -> Vector:
        velocity = self._braked(self._moving, dt)
        self._target = None
        self._behind = np.ones(self._dim, dtype=bool)  # whatever comes next starts from here
        return self._keep(start + velocity * dt if velocity.any() else start, velocity)

    def _send(
        self, start: Vector, planned: Vector, velocity: Vector, dt: float,
        follows: NDArray[np.bool_], clamped: Clamp, explain: Callable[[], tuple[str, ...]],
    ) -> GuardResult:
        self._behind = ~follows
        if self._shield is not None:
            braking = self._braked(self._moving, dt)
            share, why = self._shield.choose(
                start if self._sent is None else self._sent, braking, velocity,
                lambda step: self._way(start, step, dt))
            if share < 1.0:
                velocity = braking + share * (velocity - braking)
                planned = start + velocity * dt
                clamped |= Clamp.WORKSPACE
                self._behind = np.ones(self._dim, dtype=bool)
                limits = explain

                def explain() -> tuple[str, ...]:
                    return (f'workspace: {why}', *limits())
        sent = self._keep(planned, velocity)
        if self._smoother.length > 1 and not np.array_equal(sent, self._planned):
            clamped |= Clamp.JERK
        return GuardResult(sent, clamped, explain)

    def _way(self, start: Vector, velocity: Vector, dt: float) -> NDArray[np.float64]:
        """Return what [n, d] would be sent for a step with `velocity` [d] and braking after it."""
        positions = [start + velocity * dt]
        while velocity.any():
            velocity = self._braked(velocity, dt)
            positions.append(positions[-1] + velocity * dt)
        return self._smoother.preview(np.clip(positions, self.lower, self.upper))

    def _keep(self, planned: Vector, velocity: Vector) -> Vector:
        self._planned = np.minimum(np.maximum(planned, self.lower), self.upper)
        self._moving = velocity
        sent = self._smoother.push(self._planned)
        self._sent = np.minimum(np.maximum(sent, self.lower), self.upper)
        return self._sent


def _invalid(sent: Vector | None, error: ValueError) -> GuardResult:
    reason = (str(error),)
    return GuardResult(sent, Clamp.INVALID, lambda: reason)

# SPDX-License-Identifier: Apache-2.0
"""The command guard: nothing leaves for the motors outside the robot file's limits.

Every sent position lies in the position box, at most `velocity * dt` from the one before, with a
change of velocity of at most `acceleration * dt`. The three hold together at every tick because a
joint never moves so fast towards its limit that it could not stop before it:

    v dt + v^2 / (2 a) <= d        d: distance left, v: velocity of this step

A request that can be followed is sent bit for bit; one that cannot is approached as fast as the
limits allow until its position and velocity are met; an invalid one brakes to a stop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from lwd_core.robot import RobotSpec

Vector = NDArray[np.float64]


class Clamp(IntFlag):
    """Bits of ExecutedAction.clamped."""

    NONE = 0
    POSITION = 1
    VELOCITY = 2
    ACCELERATION = 4
    INVALID = 8


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

    def __init__(self, robot: RobotSpec) -> None:
        """Take the limits from the robot file."""
        joints = robot.joints
        self.names = tuple(joint.name for joint in joints)
        self.lower = np.array([joint.lower for joint in joints], dtype=np.float64)
        self.upper = np.array([joint.upper for joint in joints], dtype=np.float64)
        self.velocity = np.array([joint.velocity for joint in joints], dtype=np.float64)
        self.acceleration = np.array([joint.acceleration for joint in joints], dtype=np.float64)
        self._dim = len(joints)
        self.reset()

    def reset(self) -> None:
        """Forget what was sent: the next check starts at rest from the measured position."""
        self._sent: Vector | None = None
        self._at_rest()

    def _at_rest(self) -> None:
        self._moving = np.zeros(self._dim)  # rad/s, of the step that led to _sent
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
            return self._sent
        for position in (previous, measured):
            if position is not None and self._sound(position):
                self._at_rest()
                return np.clip(position, self.lower, self.upper)
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
            return self._send(target, wanted, follows, clamped,
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
        return self._send(sent, velocity, follows, clamped, lambda: (
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

    def _brake(self, start: Vector, dt: float) -> Vector:
        change = self.acceleration * dt
        velocity = self._moving - np.clip(self._moving, -change, change)
        self._target = None
        self._behind = np.ones(self._dim, dtype=bool)  # whatever comes next starts from here
        return self._keep(start + velocity * dt if velocity.any() else start, velocity)

    def _send(
        self, sent: Vector, velocity: Vector, follows: NDArray[np.bool_], clamped: Clamp,
        explain: Callable[[], tuple[str, ...]],
    ) -> GuardResult:
        self._behind = ~follows
        return GuardResult(self._keep(sent, velocity), clamped, explain)

    def _keep(self, sent: Vector, velocity: Vector) -> Vector:
        self._sent = np.minimum(np.maximum(sent, self.lower), self.upper)
        self._moving = velocity
        return self._sent


def _invalid(sent: Vector | None, error: ValueError) -> GuardResult:
    reason = (str(error),)
    return GuardResult(sent, Clamp.INVALID, lambda: reason)

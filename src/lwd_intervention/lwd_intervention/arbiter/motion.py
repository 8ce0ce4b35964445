# SPDX-License-Identifier: Apache-2.0
"""The robot's motion as commanded: where it stands, what was sent last, what may be sent next."""

from __future__ import annotations

from collections.abc import Sequence

from lwd_core.clock import NS_PER_S
from lwd_core.guard import Clamp, CommandGuard, GuardResult
from lwd_core.guard_shield import Workspace
from lwd_core.robot import RobotSpec
from lwd_intervention.arbiter.anchor import Anchor
from lwd_intervention.arbiter.records import Request, Vector


class Motion:
    """The guard with the position it starts from."""

    def __init__(self, robot: RobotSpec, workspace: Workspace | None = None) -> None:
        """Start with nothing sent and nothing measured."""
        self._names = robot.joint_names
        self._dt = robot.period_ns / NS_PER_S
        self._guard = CommandGuard(robot, workspace)
        self._anchor = Anchor(robot)
        self._sent: Vector | None = None

    def measure(self, positions: Vector, resetting: bool) -> bool:
        """Take measured positions [d]; tell whether something else moved the robot away."""
        return self._anchor.measure(positions, self._sent, resetting, self._guard.at_rest)

    def forget(self) -> None:
        """Start again at rest from the measured position."""
        self._guard.reset()
        self._anchor.trust()
        self._sent = None

    def clock_jumped(self) -> None:
        """Go on from what was sent, unless the robot turns out to stand elsewhere.

        A clock that is set right leaves the robot where it is; a simulation that starts anew does
        not, and driving back to the old position would be a motion that nobody asked for.
        """
        self._anchor.doubt()

    def check(self, request: Request) -> GuardResult:
        """Return what may be sent for a request; `keep` it if it is sent."""
        return self._guard.check(
            request.positions, self._sent, self._anchor.measured, self._dt, request.names)

    def hold(self) -> GuardResult:
        """Return the next position on the way to a stop."""
        return self._guard.hold(self._sent, self._anchor.measured, self._dt)

    def keep(self, sent: Vector) -> None:
        """Note what was sent."""
        self._sent = sent

    def requested(self, request: Request | None, clamped: Clamp) -> Sequence[float] | Vector:
        """Return what was asked for, in the robot file's order; () for a hold or other joints."""
        if request is None:
            return ()
        if request.names is None or tuple(request.names) == self._names:
            return request.positions
        if clamped & Clamp.INVALID:
            return ()
        by_name = dict(zip(request.names, request.positions))
        return [by_name[name] for name in self._names]

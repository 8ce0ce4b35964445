# SPDX-License-Identifier: Apache-2.0
"""What was sent for which tick, by the guard's leave, and what was not, and why."""

from __future__ import annotations

from collections import Counter

from lwd_core.guard import Clamp, GuardResult
from lwd_core.guard_shield import Workspace
from lwd_core.robot import RobotSpec
from lwd_intervention.arbiter.motion import Motion
from lwd_intervention.arbiter.records import Executed, Request
from lwd_intervention.arbiter.ticks import TickBook
from lwd_intervention.modes import Mode, Source

DRIVER_SOURCE = {Mode.POLICY: Source.POLICY, Mode.HUMAN: Source.HUMAN}
CLAMP_NAMES = tuple((bit, str(bit.name).lower()) for bit in Clamp if bit)


class Commands:
    """Answers control ticks, each with exactly one command."""

    def __init__(self, robot: RobotSpec, workspace: Workspace | None, max_ahead: int) -> None:
        """Start without a clock, a position and an episode."""
        self.ticks = TickBook(robot.period_ns, max_ahead)
        self.motion = Motion(robot, workspace)
        self.refused: Counter[str] = Counter()  # commands not executed, by reason
        self.clamped: Counter[str] = Counter()  # commands changed by the guard, by bit
        self.executed = 0
        self.epoch = 0
        self.origin: int | None = None  # first tick of the episode; None before the first one

    def refuse(self, driver: Mode, reason: str) -> None:
        """Count a command that is not executed."""
        self.refused[f'{driver.name.lower()}: {reason}'] += 1

    def send(self, driver: Mode, request: Request) -> tuple[list[Executed], str]:
        """Execute a driver's command as far as the guard allows; return what is wrong with it.

        What is invalid is answered with a step towards standstill.
        """
        result = self.motion.check(request)
        if result.sent is None:
            self.refuse(driver, result.reasons[0])
            return [], ''
        stamp = self.ticks.floor(request.stamp_ns)
        if result.clamped & Clamp.INVALID:
            return [self._execute(stamp, Source.HOLD, request, result)], result.reasons[0]
        return [self._execute(stamp, DRIVER_SOURCE[driver], request, result)], ''

    def hold(self) -> list[Executed]:
        """Answer the open tick with a step towards standstill, if there is one."""
        stamp = self.ticks.open
        if stamp is None:
            return []
        result = self.motion.hold()
        return [] if result.sent is None else [self._execute(stamp, Source.HOLD, None, result)]

    def tick_index(self, stamp: int) -> int:
        """Return control ticks since the episode began; 0 before and outside of episodes."""
        if self.origin is None:
            return 0
        return max(0, (stamp - self.origin) // self.ticks.period)

    def _execute(self, stamp: int, source: Source, request: Request | None,
                 result: GuardResult) -> Executed:
        assert result.sent is not None
        self.motion.keep(result.sent)
        self.ticks.answered = stamp
        self.executed += 1
        self.clamped.update(name for bit, name in CLAMP_NAMES if bit & result.clamped)
        return Executed(
            stamp, source, self.epoch, self.tick_index(stamp),
            self.motion.requested(request, result.clamped), result.sent, result.clamped,
            request.tag if request is not None else None)

# SPDX-License-Identifier: Apache-2.0
"""Control ticks on an absolute-time grid: every stamp is a whole multiple of the period.

The robot, the policy and the arbiter name a tick by its stamp, so all of them must cut time at the
same instants. Nothing here reads a clock; `ros_tick.py` feeds it.
"""

from __future__ import annotations

from dataclasses import dataclass

NS_PER_S = 1_000_000_000


def period_ns(rate: float) -> int:
    """Return the control period [ns] of a rate [Hz]."""
    if not rate > 0.0:
        raise ValueError(f'rate: {rate} Hz, must be above 0')
    return round(NS_PER_S / rate)


@dataclass(frozen=True)
class Tick:
    """One control tick. `missed` ticks before it passed unseen; `reset`: the clock jumped back."""

    stamp_ns: int
    missed: int = 0
    reset: bool = False


class Ticker:
    """Turn clock readings into ticks: each tick at most once, no burst after a stall or a jump.

    `advance(now)` returns the newest tick not later than `now` if it was not returned before.
    After a start or a jump back it arms itself without firing, unless `now` is a tick exactly (a
    simulated clock that stands on the tick and waits for the answer).
    """

    def __init__(self, period: int, max_jump_ns: int = 10 * NS_PER_S) -> None:
        """`period` [ns]; a jump ahead of over `max_jump_ns` is a new start, not missed ticks."""
        if period <= 0:
            raise ValueError(f'period: {period} ns, must be above 0')
        self.period = period
        self.max_jump_ns = max_jump_ns
        self.missed = 0  # ticks that passed unseen since the start
        self.resets = 0  # jumps of the clock since the start
        self._now: int | None = None
        self._last: int | None = None  # newest tick fired or armed at

    def floor(self, now_ns: int) -> int:
        """Return the newest grid stamp not later than `now_ns`."""
        return now_ns - now_ns % self.period

    def next_after(self, now_ns: int) -> int:
        """Return the first grid stamp later than `now_ns`."""
        return self.floor(now_ns) + self.period

    def advance(self, now_ns: int) -> Tick | None:
        """Take a clock reading [ns]; return the tick that is due, or None."""
        jumped = self._now is not None and not 0 <= now_ns - self._now <= self.max_jump_ns
        self._now = now_ns
        stamp = self.floor(now_ns)
        if self._last is None or jumped:
            self.resets += jumped
            self._last = stamp
            return Tick(stamp, reset=jumped) if stamp == now_ns else None
        if stamp <= self._last:
            return None
        missed = (stamp - self._last) // self.period - 1
        self.missed += missed
        self._last = stamp
        return Tick(stamp, missed)

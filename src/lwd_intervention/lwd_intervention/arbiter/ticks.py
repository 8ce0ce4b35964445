# SPDX-License-Identifier: Apache-2.0
"""Which tick it is, which was answered, and whether a command's stamp fits."""

from __future__ import annotations

MAX_AGE_PERIODS = 2    # older commands are never executed


class TickBook:
    """Control ticks by their stamp [ns]; each is answered at most once."""

    def __init__(self, period_ns: int, max_ahead: int = 2) -> None:
        """Start without a clock; refuse commands for later than `max_ahead` ticks from now."""
        self.period = period_ns
        self.max_ahead = max_ahead
        self.now: int | None = None       # newest tick
        self.answered: int | None = None  # newest tick with a command

    @property
    def open(self) -> int | None:
        """Return the newest tick if it has no command yet."""
        if self.now is None or (self.answered is not None and self.now <= self.answered):
            return None
        return self.now

    @property
    def next_free(self) -> int:
        """Return the first tick that can still get a command: the open one, else the next."""
        if self.open is not None:
            return self.open
        newest = [stamp for stamp in (self.now, self.answered) if stamp is not None]
        return max(newest) + self.period if newest else 0

    def floor(self, stamp_ns: int) -> int:
        """Return the tick that a stamp belongs to."""
        return stamp_ns - stamp_ns % self.period

    def refuse(self, stamp_ns: int) -> str | None:
        """Return why a command of this stamp cannot be executed now, or None."""
        stamp = self.floor(stamp_ns)
        if self.answered is not None and self.now is not None and stamp <= self.answered:
            return 'tick already answered'
        return self.refuse_age(stamp_ns)

    def refuse_age(self, stamp_ns: int) -> str | None:
        """Return why this stamp says nothing of now, whether or not its tick was answered."""
        stamp = self.floor(stamp_ns)
        if self.now is None:
            return 'no clock yet'
        if self.now - stamp > MAX_AGE_PERIODS * self.period:
            return 'older than two periods'
        if stamp - self.now > self.max_ahead * self.period:
            return 'from the future'
        return None

    def restart(self, now: int) -> None:
        """Forget the stamps of the time before the clock jumped."""
        self.now, self.answered = now, None

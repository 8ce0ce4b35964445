# SPDX-License-Identifier: Apache-2.0
"""Whether the one who drives still does: his last good command, what was wrong, his silence."""

from __future__ import annotations

from lwd_core.clock import NS_PER_S
from lwd_intervention.arbiter.records import ArbiterConfig


class Pulse:
    """One driver, from the first tick of his mode."""

    def __init__(self, config: ArbiterConfig, period_ns: int) -> None:
        """Start with nobody driving."""
        self._period = period_ns
        self._usual = config.max_gap_periods * period_ns
        self._first = max(self._usual, round(config.first_command_timeout * NS_PER_S))
        self._most_silent = config.max_open_ticks
        self.begin(0)

    def begin(self, since: int) -> None:
        """Watch a new driver, whose first tick is `since` [ns]."""
        self.since = since
        self.good: int | None = None   # newest tick he filled
        self.fault = ''                # why his last command was invalid
        self._silent = 0               # ticks in a row answered in his place

    def beat(self, stamp: int) -> None:
        """Take a good command for a tick."""
        self.good, self.fault, self._silent = stamp, '', 0

    def silent(self) -> bool:
        """Take a tick answered in his place; tell whether that was one too many."""
        self._silent += 1
        return self._silent >= self._most_silent

    def missing(self, now: int) -> float | None:
        """Return for how long [s] no good command came, if that is too long; else None."""
        gap = now - (self.good if self.good is not None else self.since - self._period)
        limit = self._first if self.good is None and not self.fault else self._usual
        return gap / NS_PER_S if gap > limit else None

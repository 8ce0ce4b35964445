# SPDX-License-Identifier: Apache-2.0
"""Book-keeping of takeovers: every start has exactly one end."""

from __future__ import annotations

from dataclasses import replace

from lwd_intervention.arbiter.records import Takeover


class TakeoverLog:
    """Number takeovers and remember the open one."""

    def __init__(self) -> None:
        """Start with none open."""
        self.open: Takeover | None = None
        self.count = 0
        self.restarted = False  # others may have been noted in this episode before

    def start(
        self, stamp_ns: int, tick: int, episode_id: str, operator: str, source: str,
        reason: str, checkpoint: str, overruled_chunk: int,
    ) -> Takeover:
        """Open a takeover at `tick` and return its record."""
        assert self.open is None, 'a takeover is open'
        # Each takeover takes a tick, so that the tick is beyond every id given before a restart.
        self.count = max(self.count, tick if self.restarted else 0) + 1
        self.open = Takeover(stamp_ns, self.count, episode_id, operator, source, reason, tick,
                             checkpoint, overruled_chunk)
        return self.open

    def end(self, stamp_ns: int, tick: int, reason: str) -> Takeover | None:
        """Close the open takeover and return its completed record; None if there is none."""
        if self.open is None:
            return None
        ended = replace(self.open, stamp_ns=stamp_ns, end_reason=reason, end_tick=tick)
        self.open = None
        return ended

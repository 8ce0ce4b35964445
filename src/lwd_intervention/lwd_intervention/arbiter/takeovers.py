# SPDX-License-Identifier: Apache-2.0
"""Book-keeping of takeovers: every start has an end, and the person's words find theirs.

Words and button come by different ways and in any order. Words belong to the takeover that is under
way; else to one that ended less than AFTER ago and has none yet; else to the next one that begins
within BEFORE. They never cross the beginning of an episode, the closing of its recording or a jump
of the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import time

from lwd_core.clock import NS_PER_S
from lwd_intervention.arbiter.records import Takeover, Unclaimed
from lwd_intervention.modes import says_why

BEFORE = 5 * NS_PER_S
AFTER = 1 * NS_PER_S


class TakeoverLog:
    """Number takeovers and remember the open one; stamps are ns of ROS time."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        """Start with none open; `steady` [s] never goes back while the machine is up."""
        self._steady = steady
        self.open: Takeover | None = None
        self.count = 0
        self.restarted = False  # others may have been noted in this episode before
        self._ended: Takeover | None = None      # the last one, while words may still come
        self._waiting: tuple[int, str] | None = None  # words for the next one, and since when

    def start(
        self, stamp_ns: int, tick: int, episode_id: str, operator: str, source: str,
        reason: str, checkpoint: str, overruled_chunk: int,
    ) -> Takeover:
        """Open a takeover at `tick` and return its record."""
        assert self.open is None, 'a takeover is open'
        # What was noted before a restart is not known here, and ROS time and ticks may have been
        # set back since; no person takes over a hundred times a second.
        elapsed = int(self._steady() * 100) % 2**31 if self.restarted else 0
        self.count = max(self.count, elapsed) + 1
        self.open = Takeover(stamp_ns, self.count, episode_id, operator, source, reason, tick,
                             checkpoint, overruled_chunk)
        if self._waiting is not None:
            self.open, self._waiting = _with(self.open, self._waiting[1]), None
        return self.open

    def worded(self, reason: str) -> str:
        """Return a reason with the words that were said for the next takeover."""
        return reason if self._waiting is None else _joined(reason, self._waiting[1])

    def end(self, stamp_ns: int, tick: int, reason: str) -> Takeover | None:
        """Close the open takeover and return its completed record; None if there is none."""
        if self.open is None:
            return None
        ended = replace(self.open, stamp_ns=stamp_ns, end_reason=reason, end_tick=tick)
        self.open, self._ended = None, ended
        return ended

    def say(self, words: str, now_ns: int) -> list[Takeover | Unclaimed]:
        """Take the person's words; return the end of a takeover again if they belong to it."""
        words = ' '.join(words.split())
        if not words:
            return []
        if self.open is not None:
            self.open = _with(self.open, words)
            return []
        ended = self._ended
        if ended is not None and not says_why(ended.reason) and now_ns - ended.stamp_ns <= AFTER:
            self._ended = _with(ended, words)
            return [self._ended]
        before = self._waiting
        self._waiting = (now_ns, words)
        return [] if before is None or before[1] == words else [Unclaimed(before[1])]

    def expire(self, now_ns: int) -> list[Takeover | Unclaimed]:
        """Give up words that no takeover followed in time."""
        if self._waiting is None or now_ns - self._waiting[0] <= BEFORE:
            return []
        return self.forget()

    def forget(self) -> list[Takeover | Unclaimed]:
        """Let no words cross what happens now."""
        words, self._waiting, self._ended = self._waiting, None, None
        return [] if words is None else [Unclaimed(words[1])]


def _with(takeover: Takeover, words: str) -> Takeover:
    return replace(takeover, reason=_joined(takeover.reason, words))


def _joined(reason: str, words: str) -> str:
    said = reason.split('; ') if says_why(reason) else []
    return '; '.join([*said, *([] if words in said else [words])])

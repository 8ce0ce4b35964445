# SPDX-License-Identifier: Apache-2.0
"""What is missing from a topic: from the publishers' numbers, and from the rhythm of its stamps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

_GAP = 1.75  # periods between two messages: one is missing
_SAMPLES = 31  # intervals the period is the median of
_LEARN = 8  # intervals before the period is believed
_STREAMS = 8  # publishers of one topic told apart
_SURE = 100  # messages missing in a row that are taken for lost at once
_SETTLE = 50  # messages after which a larger jump is, if nobody else published meanwhile


@dataclass
class _Stream:
    """One publisher of a topic, as its numbers tell."""

    last: int
    doubt: int = 0  # messages lost before it, unless it is a publisher of its own
    before: _Stream | None = None  # whom it would continue
    before_last: int = 0
    grown: int = 0


class LossCounter:
    """Messages that were published and never arrived, by topic, from their publishers' numbers.

    A message belongs to the publisher whose last number is closest below its own. A number far
    ahead is another publisher's (each arm may publish its own joint states), unless the one before
    is silent from then on. A number below all others is a new publisher's, or of one that was
    started again: no loss.
    """

    def __init__(self) -> None:
        self.total = 0
        self._streams: dict[str, list[_Stream]] = {}
        self._lost: dict[str, int] = {}

    def arrived(self, topic: str, sequence: int | None) -> int:
        """Take a message's number, None where the middleware gives none; return the new losses."""
        if sequence is None:
            return 0
        streams = self._streams.setdefault(topic, [])
        below = [stream for stream in streams if stream.last < sequence]
        stream = max(below, key=lambda stream: stream.last) if below else None
        if stream is None or sequence - stream.last - 1 > _SURE:
            doubt = 0 if stream is None else sequence - stream.last - 1
            streams.append(_Stream(sequence, doubt, stream, stream.last if stream else 0))
            del streams[:-_STREAMS]
            return 0
        lost = sequence - stream.last - 1 + self._settled(streams, stream)
        stream.last = sequence
        return self.add(topic, lost) if lost else 0

    def _settled(self, streams: list[_Stream], stream: _Stream) -> int:
        """Return the losses before a stream once it is clear that they are losses."""
        stream.grown += 1
        if not stream.doubt or stream.grown < _SETTLE:
            return 0
        lost, before = stream.doubt, stream.before
        stream.doubt, stream.before = 0, None
        if before is None or before.last != stream.before_last:
            return 0  # it went on beside it: another publisher
        streams[:] = [other for other in streams if other is not before]
        return lost

    def add(self, topic: str, count: int) -> int:
        """Count `count` losses known otherwise (a full queue, an event of the middleware)."""
        self.total += count
        self._lost[topic] = self._lost.get(topic, 0) + count
        return count

    def take(self) -> dict[str, int]:
        """Return the losses by topic since the last call."""
        lost, self._lost = self._lost, {}
        return lost


class Rhythm:
    """The stamps [ns] of a periodic topic: holes in them, and what came in the wrong order.

    The period is the median of the last intervals, so nobody has to know a camera's rate.
    """

    def __init__(self) -> None:
        self.gaps = 0
        self.missing = 0  # messages that would have filled the gaps
        self.longest_ns = 0
        self.out_of_order = 0
        self._last: int | None = None
        self._intervals: deque[int] = deque(maxlen=_SAMPLES)
        self._period = 0
        self._seen = 0

    def add(self, stamp_ns: int) -> int:
        """Take the next message's stamp; return how many seem missing before it."""
        last = self._last
        if last is not None and stamp_ns <= last:
            self.out_of_order += stamp_ns < last
            if stamp_ns < last - 1_000_000_000:  # the clock was set back: start again from here
                self._last = stamp_ns
            return 0
        self._last = stamp_ns
        if last is None:
            return 0
        interval = stamp_ns - last
        known = self._period if self._seen >= _LEARN else 0
        self._intervals.append(interval)
        self._seen += 1
        if self._seen % _LEARN == 0:
            self._period = sorted(self._intervals)[len(self._intervals) // 2]
        self.longest_ns = max(self.longest_ns, interval)
        if not known or interval < _GAP * known:
            return 0
        missing = round(interval / known) - 1
        self.gaps += 1
        self.missing += missing
        return missing

    def record(self) -> dict[str, Any]:
        """Return what episode.json says of it."""
        return {'gaps': self.gaps, 'missing': self.missing,
                'longest_gap_s': round(self.longest_ns / 1e9, 6),
                'out_of_order': self.out_of_order}

# SPDX-License-Identifier: Apache-2.0
"""Count messages that were published and never arrived."""

from __future__ import annotations


class LossCounter:
    """Losses by topic, from the publisher's sequence numbers.

    A number that does not grow is another publisher or a restarted one: counting starts afresh.
    """

    def __init__(self) -> None:
        self.total = 0
        self._last: dict[str, int] = {}
        self._lost: dict[str, int] = {}

    def arrived(self, topic: str, sequence: int | None) -> int:
        """Take the sequence number of a message; return how many are missing before it."""
        if sequence is None:
            return 0
        last = self._last.get(topic)
        self._last[topic] = sequence
        if last is None or sequence <= last + 1:
            return 0
        return self.add(topic, sequence - last - 1)

    def add(self, topic: str, count: int) -> int:
        """Count `count` losses known otherwise (a full queue, an event of the middleware)."""
        self.total += count
        self._lost[topic] = self._lost.get(topic, 0) + count
        return count

    def take(self) -> dict[str, int]:
        """Return the losses by topic since the last call."""
        lost, self._lost = self._lost, {}
        return lost

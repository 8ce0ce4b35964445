# SPDX-License-Identifier: Apache-2.0
"""What was received before the episode began: latched state, and the last moments of the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from lwd_core.topics import TopicSpec

# Two batches of the intake may overlap by some ms; further back is a clock that jumped.
_JUMP_NS = 100_000_000


class Received(NamedTuple):
    """A serialised message with its stamps, ns of ROS time."""

    topic: str  # relative to the robot's namespace
    data: bytes
    log_ns: int
    publish_ns: int
    sequence: int


class PreRoll:
    """A ring of sensor messages, bounded in time and bytes, and the newest of every latched topic.

    Commands and actions from before an episode belong to nobody: they are not kept.
    """

    def __init__(self, span_ns: int, max_bytes: int, specs: dict[str, TopicSpec]) -> None:
        self._span_ns = span_ns
        self._max_bytes = max_bytes
        self._latched_topics = {name for name, spec in specs.items() if spec.latched}
        self._sensor_topics = {name for name, spec in specs.items()
                               if not spec.reliable or name.startswith('camera/')}
        self._latched: dict[str, Received] = {}
        self._ring: deque[Received] = deque()
        self._bytes = 0

    def add(self, message: Received) -> None:
        """Remember a message; a clock that jumped back makes all before it void."""
        if self._ring and message.log_ns < self._ring[-1].log_ns - _JUMP_NS:
            self.clear()
        if message.topic in self._latched_topics:
            self._latched[message.topic] = message
        if message.topic not in self._sensor_topics:
            return
        self._ring.append(message)
        self._bytes += len(message.data)
        while self._ring and (self._bytes > self._max_bytes
                              or message.log_ns - self._ring[0].log_ns > self._span_ns):
            self._bytes -= len(self._ring.popleft().data)

    def clear(self) -> None:
        """Forget the ring; latched state stays."""
        self._ring.clear()
        self._bytes = 0

    def drain(self, now_ns: int) -> Iterator[Received]:
        """Yield latched state, then the ring, and forget the ring.

        Latched state is logged at the beginning of the bag, as if it had been asked for there: it
        may be hours old, and a bag's span should be the episode's.
        """
        ring = tuple(self._ring)
        self.clear()
        begin = min(now_ns, ring[0].log_ns) if ring else now_ns
        for message in self._latched.values():
            yield message._replace(log_ns=begin)
        yield from ring

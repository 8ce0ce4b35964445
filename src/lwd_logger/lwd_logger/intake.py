# SPDX-License-Identifier: Apache-2.0
"""Collect what has arrived, a few hundred times a second, in the order it arrived.

Taking messages in batches costs a fraction of an executor's wake-up per message, which for small
messages is most of what a recorder spends. The middleware stamps every message when it arrives, so
neither order nor time is lost by looking a little later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
import struct
import threading
import time
from typing import Any, NamedTuple

from lwd_logger.preroll import Received

PERIOD = 0.004  # s
_CLOCK = struct.Struct('<iI')
# Takes one message: (CDR bytes, middleware's info), or None if there is none.
Take = Callable[[], 'tuple[bytes, dict[str, Any]] | None']


# (arrival ns, topic or '' for the clock, CDR bytes, middleware's info)
_Item = tuple[int, str, bytes, 'dict[str, Any]']


class Source(NamedTuple):
    """A topic to collect from."""

    topic: str
    take: Take


class Collector:
    """Take everything there is from all sources and stamp it.

    clock: the source of simulated time (rosgraph_msgs/Clock), None on wall time. Under simulated
    time a message is logged at the clock that had arrived before it, and the middleware's wall
    stamps stay out of the bag.
    """

    def __init__(self, sources: Iterable[Source], clock: Take | None = None,
                 now: Callable[[], int] = time.time_ns) -> None:
        self._sources = tuple(sources)
        self._clock = clock
        self._now = now  # ns, of the middleware's arrival stamps
        self._ahead: list[_Item] = []
        self._sim_ns = 0

    def collect(self, last: bool = False) -> list[Received]:
        """Return what has arrived since the last call, oldest first.

        Taking from all sources takes time, where others need the processor a lot of it. What
        arrives meanwhile on a later source would overtake what arrived before it on an earlier one
        (the end of an episode its last sensors), so it waits for the next batch; `last`: for none.
        """
        began = self._now()
        taken: list[_Item] = []
        try:
            # A reading of the clock that comes with the messages is taken last: it may be ahead of
            # some of them.
            for topic, take in (*self._sources, *self._clocks()):
                taken += [(int(info['received_timestamp']), topic, data, info)
                          for data, info in _drain(take)]
        except BaseException:
            self._ahead += taken  # one source that fails costs the others nothing
            raise
        found = self._ahead + [item for item in taken if last or item[0] <= began]
        self._ahead = [] if last else [item for item in taken if item[0] > began]
        found.sort(key=_arrival)
        if self._clock is None:
            return [Received(topic, data, arrived, int(info['source_timestamp']) or arrived,
                             _sequence(info)) for arrived, topic, data, info in found]
        return list(self._stamped(found))

    def _clocks(self) -> tuple[Source, ...]:
        return () if self._clock is None else (Source('', self._clock),)

    def _stamped(self, items: list[_Item]) -> Iterable[Received]:
        for _, topic, data, info in items:
            if topic:
                yield Received(topic, data, self._sim_ns, self._sim_ns, _sequence(info))
            else:
                sec, nanosec = _CLOCK.unpack_from(data, 4)
                self._sim_ns = sec * 1_000_000_000 + nanosec


class Intake:
    """A thread that hands every batch of a collector to `put`."""

    def __init__(self, collector: Collector, put: Callable[[list[Received]], None],
                 failed: Callable[[Exception], None]) -> None:
        self._collector = collector
        self._put = put
        self._failed = failed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name='bag-intake')
        self._thread.start()

    def stop(self) -> None:
        """End the thread after one more collection."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            due = max(due + PERIOD, time.monotonic())
            self._stopping.wait(due - time.monotonic())
            self._collect()
        self._collect(last=True)

    def _collect(self, last: bool = False) -> None:
        try:
            if batch := self._collector.collect(last):
                self._put(batch)
        except Exception as error:  # a dead intake would be a silent loss
            self._failed(error)


def _drain(take: Take) -> Iterable[tuple[bytes, dict[str, Any]]]:
    while (item := take()) is not None:
        yield item


def _sequence(info: dict[str, Any]) -> int:
    return int(info.get('publication_sequence_number') or 0)


def _arrival(item: _Item) -> int:
    return item[0]

# SPDX-License-Identifier: Apache-2.0
"""The thread between the subscriptions and the disk: a queue bounded in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import threading

from lwd_logger.preroll import Received

_RELEASE = 1 << 20  # bytes handled before room is made for others
_TICK = 0.1  # s between two calls of `tick` when nothing arrives


class Pump:
    """Hand messages to `handle` in a thread of its own, in order, and call `tick` regularly.

    `put` never blocks: beyond `max_bytes` a message is dropped and reported through `lost`, in the
    writer's thread. An exception in `handle` or `tick` is given to `failed`; the thread goes on.
    """

    def __init__(
        self, handle: Callable[[Received], None], tick: Callable[[], None],
        lost: Callable[[str, int], None], failed: Callable[[Exception], None], max_bytes: int,
    ) -> None:
        self._handle = handle
        self._tick = tick
        self._lost = lost
        self._failed = failed
        self._max_bytes = max_bytes
        self._queue: deque[Received] = deque()
        self._bytes = 0
        self._dropped: dict[str, int] = {}
        self._stopping = False
        self._condition = threading.Condition()  # over an RLock; guards everything above
        self._thread = threading.Thread(target=self._run, name='bag-writer')
        self._thread.start()

    def put(self, batch: list[Received]) -> None:
        """Queue messages; those there is no room for are counted as lost: the disk is too slow."""
        with self._condition:
            for message in batch:
                if self._bytes + len(message.data) > self._max_bytes:
                    self.count_lost(message.topic)
                else:
                    self._queue.append(message)
                    self._bytes += len(message.data)
            self._condition.notify()

    def count_lost(self, topic: str, count: int = 1) -> None:
        """Count messages that are lost, to be reported in the writer's thread."""
        with self._condition:
            self._dropped[topic] = self._dropped.get(topic, 0) + count

    def stop(self) -> None:
        """Handle what is queued and end the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                if not self._queue and not self._stopping:
                    self._condition.wait(_TICK)
                batch, self._queue = self._queue, deque()
                dropped, self._dropped = self._dropped, {}
                stopping = self._stopping
            for topic, count in dropped.items():
                self._guarded(self._lost, topic, count)
            done = 0
            for message in batch:
                self._guarded(self._handle, message)
                done += len(message.data)
                if done >= _RELEASE:
                    self._release(done)
                    done = 0
            self._release(done)
            self._guarded(self._tick)
            if stopping and not batch:
                return

    def _release(self, size: int) -> None:
        """Make room for `size` bytes in the queue."""
        with self._condition:
            self._bytes -= size

    def _guarded(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception as error:  # the writer must outlive any one message
            self._failed(error)

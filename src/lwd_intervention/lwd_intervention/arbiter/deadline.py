# SPDX-License-Identifier: Apache-2.0
"""One wall-clock deadline that may be moved at every tick at next to no cost."""

from __future__ import annotations

from collections.abc import Callable
import threading
import time


class Deadline:
    """Call `expired()` in an own thread once the deadline passed; moving it later wakes nobody.

    Lock order: `expired` may take the caller's lock; `set` and `clear` never wait for `expired`.
    """

    def __init__(self, expired: Callable[[], None]) -> None:
        """Start without a deadline."""
        self._expired = expired
        self._at: float | None = None
        self._wakes_at = float('inf')
        self._stopping = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name='deadline', daemon=True)
        self._thread.start()

    def set(self, seconds: float) -> None:
        """Expire `seconds` from now, whatever was set before."""
        with self._condition:
            self._at = time.monotonic() + seconds
            if self._at < self._wakes_at:
                self._condition.notify()

    def set_once(self, seconds: float) -> None:
        """Expire `seconds` from now unless a deadline is set already."""
        if self._at is None:
            self.set(seconds)

    def clear(self) -> None:
        """Do not expire."""
        self._at = None

    def stop(self) -> None:
        """End the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while self._wait():
            self._expired()

    def _wait(self) -> bool:
        """Sleep until the deadline passed; False when stopping."""
        with self._condition:
            while not self._stopping:
                at = self._at
                left = None if at is None else at - time.monotonic()
                if left is not None and left <= 0.0:
                    self._at = None
                    return True
                self._wakes_at = float('inf') if at is None else at
                self._condition.wait(left)
                self._wakes_at = 0.0  # awake: no need to notify
            return False

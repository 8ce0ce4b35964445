# SPDX-License-Identifier: Apache-2.0
"""Wake a little before a deadline and watch the clock for the rest.

A kernel wakes a sleeping thread late, by 0.05 ms on bare metal, by 0.5 ms in many virtual machines.
Sleeping to an earlier moment and watching the clock turns that lateness into waiting. How early is
learned from how late the wake-ups were; it is bounded, so the cost is too: at 50 Hz at most 5 % of
a core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import time

from lwd_core.clock import NS_PER_S

LONGEST_WATCH_NS = 1_000_000
REMEMBERED = 100  # wake-ups; the latest of these but one decides


class Waker:
    """Waits for deadlines of one thread."""

    def __init__(self, clock: Callable[[], int] = time.time_ns,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        """`clock` [ns] is the one that deadlines are on; `sleep` takes seconds."""
        self._clock = clock
        self._sleep = sleep
        self._late = deque[int](maxlen=REMEMBERED)

    @property
    def early_ns(self) -> int:
        """Return how long before a deadline the thread is to be awake."""
        # The latest of all is an accident that must not cost a core's time for the next 100.
        usual = sorted(self._late)[-2] if len(self._late) > 1 else 0
        return min(max(usual, 0), LONGEST_WATCH_NS)

    def wait_until(self, deadline_ns: int) -> None:
        """Return at the deadline, or as soon after it as the machine lets us."""
        alarm = deadline_ns - self.early_ns
        left = alarm - self._clock()
        if left > 0:
            self._sleep(left / NS_PER_S)
            self._late.append(self._clock() - alarm)
        while 0 < deadline_ns - self._clock() <= 2 * LONGEST_WATCH_NS:
            pass  # a clock that was set back ends the watch

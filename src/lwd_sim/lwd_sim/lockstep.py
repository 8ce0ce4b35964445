# SPDX-License-Identifier: Apache-2.0
"""When a simulated robot may take its next step: once answered, at most at a set speed."""


class Pace:
    """Caps simulated time at `factor` times wall time; 0: no cap. Wall times in s, monotonic."""

    def __init__(self, factor: float, period: float) -> None:
        self._interval = period / factor if factor > 0.0 else 0.0
        self._next: float | None = None

    def wait(self, now: float) -> float:
        """Return how long to wait before the step that is due; a late one is not caught up."""
        if self._interval == 0.0:
            return 0.0
        due = now if self._next is None else max(self._next, now - self._interval)
        self._next = due + self._interval
        return max(0.0, due - now)

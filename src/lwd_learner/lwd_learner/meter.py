# SPDX-License-Identifier: Apache-2.0
"""Running figures of training: rates, shares of time, means of metrics."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
import math
import time
from typing import Any

WINDOW = 100  # updates


class Meter:
    """Means over the last WINDOW updates; NaN where there is no data."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._values: dict[str, deque[float]] = {}
        self._waits: deque[float] = deque(maxlen=WINDOW)
        self._updates: deque[float] = deque(maxlen=WINDOW)
        self._ends: deque[float] = deque(maxlen=WINDOW)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time what comes before an update: drawing and gathering a batch."""
        began = self._clock()
        yield
        self._waits.append(self._clock() - began)

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Time an update."""
        began = self._clock()
        yield
        self._ends.append(self._clock())
        self._updates.append(self._ends[-1] - began)

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Take one update's metrics; what is not finite is left out of the means."""
        for name, value in metrics.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                self._values.setdefault(name, deque(maxlen=WINDOW)).append(float(value))

    def means(self) -> dict[str, float]:
        """Return the mean of every metric seen."""
        return {name: sum(window) / len(window) for name, window in self._values.items()}

    def rate(self) -> float:
        """Return updates a second of wall time over the window; NaN before the second one."""
        if len(self._ends) < 2:
            return math.nan
        span = self._ends[-1] - self._ends[0]
        return (len(self._ends) - 1) / span if span > 0 else math.nan

    def wait_share(self) -> float:
        """Return the share of time spent on data, [0, 1]."""
        total = sum(self._waits) + sum(self._updates)
        return sum(self._waits) / total if total > 0 else math.nan

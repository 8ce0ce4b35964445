# SPDX-License-Identifier: Apache-2.0
"""What the control loop did: counts and times by section, reported at the end of an episode."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

SECTIONS = ('assemble', 'inference', 'latency', 'publish', 'lateness')
KEPT = 5000  # samples by section: over three minutes of ticks at 25 Hz
RECENT_CHUNKS = 200  # over which PolicyStatus gives latencies


def percentile(samples: Iterable[float], q: float) -> float:
    """Return the q-th percentile; NaN without samples."""
    values = list(samples)
    return float(np.percentile(values, q)) if values else float('nan')


class Cadence:
    """Counts since `reset`, which happens at every episode's start."""

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=RECENT_CHUNKS)  # latencies [s], over episodes
        self.reset()

    def reset(self) -> None:
        """Start counting anew."""
        self.ticks = self.published = self.late = self.starved = self.missed = 0
        self.chunks = self.refused_chunks = 0
        self.delays: dict[int, int] = {}
        self.reasons: dict[str, int] = {}
        self._times = {section: deque[float](maxlen=KEPT) for section in SECTIONS}
        self._first = self._last = 0.0

    def add(self, section: str, seconds: float) -> None:
        """Add a duration of one section [s]."""
        self._times[section].append(seconds)

    def tick(self, wall_s: float) -> None:
        """Count a tick in POLICY, received at this wall time [s]."""
        self._first = self._first if self.ticks else wall_s
        self._last = wall_s
        self.ticks += 1

    def starve(self, reason: str) -> None:
        """Count a tick that had no action, and why."""
        self.starved += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def chunk(self, latency: float, inference: float) -> None:
        """Count the times of a chunk that arrived [s]."""
        self.add('inference', inference)
        self.add('latency', latency)
        self.recent.append(latency)

    def delay(self, steps: int) -> None:
        """Count the delay of an accepted chunk, in ticks."""
        self.chunks += 1
        self.delays[steps] = self.delays.get(steps, 0) + 1

    @property
    def rate(self) -> float:
        """Return ticks per second of wall time; NaN with fewer than two ticks."""
        span = self._last - self._first
        return (self.ticks - 1) / span if span > 0 else float('nan')

    def quantile(self, section: str, q: float) -> float:
        """Return a percentile of a section's durations [s]."""
        return percentile(self._times[section], q)

    def report(self, title: str) -> str:
        """Return a table for the terminal."""
        head = (f'cadence of {title}: {self.ticks} ticks at {self.rate:.1f} Hz, '
                f'{self.late} late, {self.starved} starved, {self.missed} missed')
        delays = ', '.join(f'{steps}: {count}' for steps, count in sorted(self.delays.items()))
        lines = [head, f'  chunks {self.chunks} (delay in ticks {delays or "-"}), '
                       f'refused {self.refused_chunks}',
                 f'  {"ms":<10}{"p50":>8}{"p99":>8}{"max":>8}']
        lines += [f'  {section:<10}' + ''.join(
            f'{1e3 * self.quantile(section, q):8.2f}' for q in (50, 99, 100))
            for section in SECTIONS if self._times[section]]
        lines += [f'  starved: {count} x {reason}' for reason, count in self.reasons.items()]
        return '\n'.join(lines)

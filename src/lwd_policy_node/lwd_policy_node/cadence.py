# SPDX-License-Identifier: Apache-2.0
"""What the control loop did: counts and times by section, reported at the end of an episode."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
import re

import numpy as np

# In the order they happen. 'encode', 'network' (a remote policy's) and 'sample' are parts of
# 'inference', which the worker measures; 'latency' is from the request to the chunk; 'lateness'
# from the tick's stamp to its command.
WORKERS = ('encode', 'network', 'sample')
SECTIONS = ('assemble', *WORKERS, 'inference', 'latency', 'publish', 'lateness')
KEPT = 5000  # samples by section: over three minutes of ticks at 25 Hz
RECENT_CHUNKS = 200  # over which PolicyStatus gives latencies
REASONS_KEPT = 8  # different reasons for starved ticks


def percentile(samples: Iterable[float], q: float) -> float:
    """Return the q-th percentile; NaN without samples."""
    values = list(samples)
    return float(np.percentile(values, q)) if values else float('nan')


class Cadence:
    """Counts of one episode."""

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=RECENT_CHUNKS)  # latencies [s], over episodes
        self.ticks = self.published = self.late = self.starved = self.missed = 0
        self.waited = 0  # late ticks that had no row when they came: their chunk was late
        self.chunks = self.refused_chunks = self.clamped = 0
        self.delays: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        self._times = {section: deque[float](maxlen=KEPT) for section in SECTIONS}
        self.seconds = self._wall_seconds = 0.0
        self._intervals = 0
        self.pause()

    def successor(self) -> Cadence:
        """Return the cadence of the next episode."""
        fresh = Cadence()
        fresh.recent = self.recent
        return fresh

    def pause(self) -> None:
        """Somebody else drives: the time to the next tick is not the policy's."""
        self._last: tuple[float, int] | None = None

    def absorb(self, other: Cadence) -> None:
        """Add what `other` counted."""
        for name in ('ticks', 'published', 'late', 'waited', 'starved', 'missed', 'chunks',
                     'refused_chunks', 'clamped', 'seconds', '_wall_seconds', '_intervals'):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.delays.update(other.delays)
        self.reasons.update(other.reasons)
        for section, samples in other._times.items():
            self._times[section].extend(samples)

    def add(self, section: str, seconds: float) -> None:
        """Add a duration of one section [s]."""
        self._times[section].append(seconds)

    def tick(self, wall_s: float, stamp_ns: int) -> None:
        """Count a tick in POLICY, received at this wall time [s]."""
        if self._last is not None:
            self._wall_seconds += wall_s - self._last[0]
            self.seconds += (stamp_ns - self._last[1]) / 1e9
            self._intervals += 1
        self._last = wall_s, stamp_ns
        self.ticks += 1

    def starve(self, reason: str) -> None:
        """Count a tick that had no action, and why."""
        self.starved += 1
        # Stamps and ages differ from tick to tick; the reason behind them does not.
        kind = re.sub(r'\d+\.\d+', '*', reason)
        self.reasons[kind if kind in self.reasons or len(self.reasons) < REASONS_KEPT
                     else 'others'] += 1

    def chunk(self, latency: float, inference: float, sections: Mapping[str, float]) -> None:
        """Count the times of a chunk that arrived [s]; `sections` are those the worker told."""
        self.add('inference', inference)
        self.add('latency', latency)
        for section in WORKERS:
            if section in sections:
                self.add(section, sections[section])
        self.recent.append(latency)

    def delay(self, steps: int) -> None:
        """Count the delay of an accepted chunk, in ticks."""
        self.chunks += 1
        self.delays[steps] += 1

    @property
    def mean_delay(self) -> float:
        """Return the mean first executable index of a chunk; NaN without chunks."""
        total = sum(steps * count for steps, count in self.delays.items())
        return total / self.chunks if self.chunks else float('nan')

    @property
    def rate(self) -> float:
        """Return ticks per second of the robot's clock; NaN with fewer than two ticks."""
        return self._intervals / self.seconds if self.seconds > 0 else float('nan')

    @property
    def wall_rate(self) -> float:
        """Return ticks per second of wall time; NaN with fewer than two ticks."""
        return self._intervals / self._wall_seconds if self._wall_seconds > 0 else float('nan')

    @property
    def sections(self) -> tuple[str, ...]:
        """Return the sections that have samples."""
        return tuple(section for section in SECTIONS if self._times[section])

    def quantile(self, section: str, q: float) -> float:
        """Return a percentile of a section's durations [s]."""
        return percentile(self._times[section], q)

    def report(self, title: str) -> str:
        """Return a table for the terminal."""
        waited = f' ({self.waited} waited for a chunk)' if self.late else ''
        head = (f'cadence of {title}: {self.ticks} ticks at {self.rate:.1f} Hz '
                f'({self.wall_rate:.1f} a wall second), {self.late} late{waited}, {self.starved} '
                f'starved, {self.missed} missed, {self.clamped} clamped')
        delays = ', '.join(f'{steps}: {count}' for steps, count in sorted(self.delays.items()))
        lines = [head, f'  chunks {self.chunks} (delay in ticks {delays or "-"}), '
                       f'refused {self.refused_chunks}',
                 f'  {"ms":<10}{"p50":>8}{"p99":>8}{"max":>8}']
        lines += [f'  {section:<10}' + ''.join(
            f'{1e3 * self.quantile(section, q):8.2f}' for q in (50, 99, 100))
            for section in self.sections]
        lines += [f'  starved: {count} x {reason}' for reason, count in self.reasons.items()]
        return '\n'.join(lines)

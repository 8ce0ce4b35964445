# SPDX-License-Identifier: Apache-2.0
"""Lateness and period errors from noted times, the CPU of processes, a picture."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TICKS_PER_S = os.sysconf('SC_CLK_TCK')
Times = NDArray[np.int64]


def missed_by_timer(calls: Times, period: int) -> int:
    """Return how many periods passed without a call."""
    return int(round((calls[-1] - calls[0]) / period)) + 1 - len(calls)


def quantiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    """Return p50, p99, p99.9 and max [ms]."""
    return {name: round(float(np.percentile(seconds, q)) * 1e3, 4)
            for name, q in (('p50', 50), ('p99', 99), ('p99.9', 99.9), ('max', 100))}


def describe(sent: Times, late: NDArray[np.float64], period: int) -> dict[str, dict[str, float]]:
    """Return the quantiles of lateness and of the error of the period."""
    return {'lateness_ms': quantiles(late),
            'period_error_ms': quantiles(np.abs(np.diff(sent) - period) / 1e9)}


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and the children it has waited for; NaN if it is gone."""
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    except OSError:
        return float('nan')
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    try:
        return [int(child) for thread in Path(f'/proc/{pid}/task').iterdir()
                for child in (thread / 'children').read_text().split()]
    except OSError:
        return []


def draw(lateness: dict[str, NDArray[np.float64]], path: Path, title: str) -> None:
    """Draw how many ticks were later than so much, on logarithmic axes."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, axis = pyplot.subplots(figsize=(8, 5))
    for name, seconds in lateness.items():
        ordered = np.sort(np.maximum(seconds, 1e-6)) * 1e3
        axis.step(ordered, 1 - np.arange(len(ordered)) / len(ordered), label=name)
    axis.axvline(1.0, color='grey', linestyle=':')
    axis.set(xscale='log', yscale='log', xlabel='later than [ms]', ylabel='share of ticks',
             title=title)
    axis.grid(alpha=0.3, which='both')
    axis.legend()
    figure.tight_layout()
    partial = path.with_name(f'{path.stem}.partial{path.suffix}')
    figure.savefig(partial, dpi=110)
    pyplot.close(figure)
    partial.replace(path)

# SPDX-License-Identifier: Apache-2.0
"""Four panels: what latency does to success, seams, accelerations and starved ticks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PANELS = (('success', 'success'), ('seam_p99_rad', 'seam jump, p99 [rad]'),
          ('acceleration_p50', 'peak acceleration of a command, median [rad/s²]'),
          ('starved_per_episode', 'ticks without an action, per episode'))


def draw(table: dict[str, dict[int, dict[str, Any]]], path: Path, title: str) -> None:
    """Draw `table[scheduler][latency ms]` and write it whole."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7.5), sharex=True)
    for axis, (key, label) in zip(axes.flat, PANELS):
        for name, row in table.items():
            axis.plot(list(row), [found[key] for found in row.values()], marker='o', label=name)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylim(-0.03, 1.03)
    axes[0, 0].legend()
    for axis in axes[1]:
        axis.set_xlabel('latency of inference [ms]')
    figure.suptitle(title)
    figure.tight_layout()
    partial = path.with_name(f'{path.stem}.partial{path.suffix}')
    figure.savefig(partial, dpi=110)
    pyplot.close(figure)
    partial.replace(path)

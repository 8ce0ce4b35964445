# SPDX-License-Identifier: Apache-2.0
"""The comparison as text, and as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np

from lwd_bringup.demo.style import CSS
from lwd_bringup.plots import COLOURS, Plot
from lwd_bringup.shadow.compare import Comparison
from lwd_bringup.shadow.feed import HUMAN
from lwd_core.episode import EpisodeMeta

WIDTH = 1000
WORST = 4  # joints that are drawn
UNIT = 'rad, jaws: open'


def lines(comparison: Comparison, meta: EpisodeMeta, digest: str) -> Iterator[str]:
    """Yield the report for a terminal."""
    found = comparison.summary()
    yield f'{meta.id}: {found["ticks"]} ticks shown to checkpoint {digest[:12]}'
    for who in ('policy', 'human'):
        one = found[who]
        if not one['ticks']:
            continue
        text = f'  {who} drove {one["ticks"]} ticks, {one["answered"]} have a would-be action'
        if one['answered']:
            text += (f', {one["bit_exact"]} of them bit for bit the executed one; '
                     f'|difference| mean {one["mean_error"]:.2g}, max {one["max_error"]:.2g}')
        yield text
    chunks = found['chunks']
    yield (f'  chunks: {chunks["recorded"]} recorded, {chunks["at_the_same_tick"]} planned again '
           f'at the same tick, {chunks["same_computation"]} from the same checkpoint, seed and '
           f'samples, {chunks["bit_exact"]} bit for bit')
    again = found['recomputed']
    if again and not again['chunks']:
        yield '  computed again from the bag: nothing, this checkpoint planned none of its chunks'
    elif again:
        yield (f'  computed again from the bag: {again["bit_exact"]} of {again["chunks"]} chunks '
               'of this checkpoint come out bit for bit'
               + (f', max difference {again["max_error"]:.2g}' if again['max_error'] else ''))
    for note in found['notes']:
        yield f'  {note}'


def page(comparison: Comparison, meta: EpisodeMeta, digest: str) -> str:
    """Return the page."""
    title = escape(f'{meta.id} in shadow of {digest[:12]}')
    text = escape('\n'.join(lines(comparison, meta, digest)))
    charts = ''.join(_joint(comparison, joint) for joint in _worst(comparison))
    return f'''<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}
pre {{ white-space: pre-wrap }}</style></head>
<body><main><header><h1>{escape(meta.task)}: would-be and executed actions</h1>
<p>{escape(meta.instruction)}</p></header><pre>{text}</pre>
<figure>{_error(comparison)}<figcaption>Largest difference of any joint, a tick. Shaded: a person
drove.</figcaption></figure>{charts}
<h2>By joint</h2>{_table(comparison)}
<footer>{title}; robot {escape(meta.robot)}</footer></main></body></html>'''


def _human(comparison: Comparison, plot: Plot) -> None:
    edges = np.diff(np.concatenate([[0], comparison.source == HUMAN, [0]]).astype(int))
    time = comparison.time
    for start, stop in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)):
        plot.band(float(time[start]), float(time[stop - 1]), COLOURS['human'])


def _span(comparison: Comparison) -> tuple[float, float]:
    return 0.0, max(float(comparison.time[-1]), 1e-3)


def _error(comparison: Comparison) -> str:
    worst = np.nan_to_num(comparison.error.max(1))
    plot = Plot(_span(comparison), (0.0, max(float(worst.max()), 1e-6) * 1.05), width=WIDTH,
                height=200, x_label='s', y_label=UNIT)
    _human(comparison, plot)
    plot.line(comparison.time.tolist(), worst.tolist(), COLOURS['final'], 'largest difference')
    return plot.svg()


def _worst(comparison: Comparison) -> list[int]:
    """Return the joints that differ most."""
    error = np.nan_to_num(comparison.error).mean(0)
    return [int(joint) for joint in np.argsort(-error)[:WORST] if error[joint] > 0]


def _joint(comparison: Comparison, joint: int) -> str:
    would, done = comparison.would[:, joint], comparison.executed[:, joint]
    known = np.isfinite(would)
    both = np.concatenate([would[known], done])
    low, high = float(both.min()), float(both.max())
    margin = 0.05 * max(high - low, 1e-3)
    plot = Plot(_span(comparison), (low - margin, high + margin), width=WIDTH, height=160,
                x_label='s', y_label=UNIT)
    _human(comparison, plot)
    plot.line(comparison.time.tolist(), done.tolist(), COLOURS['ink'], 'executed')
    plot.line(comparison.time[known].tolist(), would[known].tolist(), COLOURS['final'],
              'would-be')
    return f'<figure>{plot.svg()}<figcaption>{escape(comparison.joint_names[joint])}' \
           '</figcaption></figure>'


def _table(comparison: Comparison) -> str:
    found: dict[str, Any] = comparison.summary()
    names = comparison.joint_names
    rows = ''.join(
        f'<tr><th>{escape(name)}</th>' + ''.join(
            f'<td>{found[who]["max_error_by_joint"].get(name, float("nan")):.3g}</td>'
            for who in ('policy', 'human')) + '</tr>' for name in names)
    return ('<table><tr><th>largest difference</th><th>policy drove</th><th>person drove</th></tr>'
            f'{rows}</table>')

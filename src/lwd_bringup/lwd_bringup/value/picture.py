# SPDX-License-Identifier: Apache-2.0
"""The values of an episode, drawn, and as a PNG with the filmstrip under them."""

import io
from typing import Any

import cv2
from matplotlib.figure import Figure
import numpy as np

from lwd_bringup.plots import COLOURS
from lwd_bringup.value.view import ValueView

DPI = 130
RANGE = (-0.1, 1.1)
INK = (47, 111, 222)  # RGB of the distribution


def picture(view: ValueView) -> bytes:
    """Return the PNG: distribution over time, filmstrip under it if there are images."""
    rows = 2 if view.frames else 1
    figure = Figure(figsize=(11, 4.4 if rows == 1 else 5.8), dpi=DPI, layout='constrained')
    grid = figure.add_gridspec(rows, 1, height_ratios=[3.6, 1.0][:rows])
    axes = figure.add_subplot(grid[0])
    draw_values(axes, view)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(loc='lower left', bbox_to_anchor=(0, 1), fontsize=8, frameon=False, ncols=5)
    if view.frames:
        _film(figure, grid[1], view)
    meta = view.meta
    figure.suptitle(f'{meta.task}: {meta.outcome}  ({meta.id})', fontsize=11)
    out = io.BytesIO()
    figure.savefig(out, format='png')
    return out.getvalue()


def draw_values(axes: Any, view: ValueView) -> None:
    """Draw the law of V over time with its mean, the bootstrapped quantile and Q."""
    time, trace = view.time, view.trace
    end = max(float(time[-1]), 1e-3)
    if 'probs' in trace:
        support = trace['support']
        axes.imshow(heat_image(trace['probs']), aspect='auto', interpolation='nearest',
                    extent=(0.0, end, float(support[0]), float(support[-1])))
    for index, (start, stop, _) in enumerate(view.human):
        axes.axvspan(start, min(stop, end), color=COLOURS['human'], alpha=0.2, lw=0,
                     label='a person drove' if index == 0 else None)
    for key, name, colour in (('mean', 'mean of V', COLOURS['final']),
                              ('quantile', 'quantile bootstrapped from', COLOURS['ink']),
                              ('q', 'Q of the executed chunk', COLOURS['good'])):
        if key in trace:
            axes.plot(time, trace[key], color=colour, lw=1.5, label=name)
    axes.plot(view.chunks, np.full(len(view.chunks), RANGE[0] + 0.02), '|', ms=7,
              color=COLOURS['ink'], label='new chunk')
    axes.set(xlim=(0, end), ylim=RANGE, xlabel='s', ylabel='value')


def heat_image(probs: np.ndarray) -> np.ndarray:
    """Return laws [T, K] as RGBA uint8 [K, T, 4], the highest value in the first row."""
    share = probs / np.maximum(probs.max(1, keepdims=True), 1e-9)
    image = np.empty((probs.shape[1], len(probs), 4), np.uint8)
    image[..., :3] = INK
    image[..., 3] = (150 * np.sqrt(share.T[::-1])).astype(np.uint8)  # sqrt: tails stay visible
    return image


def _film(figure: Figure, place: Any, view: ValueView) -> None:
    strip = place.subgridspec(1, len(view.frames), wspace=0.04)
    for index, (time, data) in enumerate(view.frames):
        axes = figure.add_subplot(strip[index])
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is not None:  # a damaged frame leaves a gap
            axes.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        axes.set_title(f'{time:.1f} s', fontsize=8)
        axes.axis('off')

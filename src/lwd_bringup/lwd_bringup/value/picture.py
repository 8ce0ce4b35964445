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
_STRIP = 10.4  # inches the film is wide
_REASON = 42  # letters of a takeover's reason
_LETTER = 0.0062  # of the picture's width, about


def picture(view: ValueView) -> bytes:
    """Return the PNG: distribution over time, filmstrip under it if there are images."""
    images = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
              for _, data in view.frames]
    film = [_STRIP / len(images) * _aspect(images)] if images else []  # inches
    figure = Figure(figsize=(11, 4.4 + sum(film) + 0.35 * len(film)), dpi=DPI,
                    layout='constrained')
    grid = figure.add_gridspec(1 + len(film), 1, height_ratios=[3.6, *film])
    axes = figure.add_subplot(grid[0])
    draw_values(axes, view)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(loc='lower left', bbox_to_anchor=(0, 1), fontsize=8, frameon=False, ncols=6,
                columnspacing=1.2)
    if film:
        _film(figure.add_subplot(grid[1], sharex=axes), view, images)
    meta = view.meta
    acted = f', checkpoint {meta.checkpoints[-1]["digest"][:12]}' if meta.checkpoints else ''
    figure.suptitle(f'{meta.instruction or meta.task}: {meta.outcome}  ({meta.id}{acted})',
                    fontsize=10, parse_math=False)  # a person's words are no TeX
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
        axes.plot([], [], color=[part / 255 for part in INK], alpha=0.4, lw=6, label='law of V')
    for index, (start, stop, _) in enumerate(view.human):
        axes.axvspan(start, min(stop, end), color=COLOURS['human'], alpha=0.2, lw=0,
                     label='a person drove' if index == 0 else None)
    _reasons(axes, view, end)
    for key, name, colour in (('mean', 'mean of V', COLOURS['final']),
                              ('quantile', 'its quantile, as bootstrapped', COLOURS['ink']),
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


def _reasons(axes: Any, view: ValueView, end: float) -> None:
    """Write why a person took over where he did; what would overlap goes a line lower."""
    free = [0.0, 0.0, 0.0]  # where each line has room again
    for start, _, reason in view.human:
        text = reason if len(reason) <= _REASON else reason[:_REASON - 1] + '…'
        line = next((index for index, at in enumerate(free) if at <= start), None)
        if not text or line is None:
            continue
        width = end * _LETTER * len(text)
        free[line] = start + width
        right = start + width > end  # it would be cut off
        axes.text(start, RANGE[0] + 0.1 + 0.055 * (len(free) - 1 - line), f' {text} ', fontsize=7.5,
                  ha='right' if right and start > end / 2 else 'left', va='bottom',
                  color=COLOURS['ink'], clip_on=True, parse_math=False)


def _aspect(images: list[Any]) -> float:
    """Return height over width of the first frame that can be decoded."""
    return next((image.shape[0] / image.shape[1] for image in images if image is not None), 0.75)


def _film(axes: Any, view: ValueView, images: list[Any]) -> None:
    """Draw the frames side by side, about under the time they were taken at."""
    end = max(float(view.time[-1]), 1e-3)
    width = end / len(images)
    for index, ((time, _), image) in enumerate(zip(view.frames, images)):
        if image is not None:  # a damaged frame leaves a gap
            axes.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), aspect='auto', extent=(
                (index + 0.02) * width, (index + 0.98) * width, 0.0, 1.0))
        axes.text((index + 0.5) * width, 1.02, f'{time:.1f} s', fontsize=8, ha='center',
                  va='bottom')
    axes.set(xlim=(0, end), ylim=(0, 1))
    axes.axis('off')

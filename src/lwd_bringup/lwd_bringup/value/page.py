# SPDX-License-Identifier: Apache-2.0
"""The values of an episode as one HTML file that needs nothing else."""

import base64
from html import escape

import cv2
import numpy as np

from lwd_bringup.demo.style import CSS
from lwd_bringup.demo.svg import Chart, COLOURS, Series
from lwd_bringup.value.view import ValueView

RANGE = (-0.1, 1.1)
INK = (47, 111, 222)  # RGB of the distribution
WIDTH = 1000


def page(view: ValueView) -> str:
    """Return the page."""
    meta = view.meta
    film = ''
    if view.frames:
        film = (f'<h3>{escape(view.camera)}</h3><div class="frames">'
                + ''.join(_frame(time, data) for time, data in view.frames) + '</div>')
    notes = ''.join(
        f'<tr><th>{start:.1f} to {end:.1f} s</th><td>{escape(why) or "no reason noted"}</td></tr>'
        for start, end, why in view.human)
    interventions = f'<h2>A person drove</h2><table>{notes}</table>' if notes else ''
    checkpoint = meta.checkpoints[-1]['digest'][:12] if meta.checkpoints else 'none'
    title = escape(f'Value of {meta.id}')
    return f'''<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head>
<body><main><header><h1>{escape(meta.task)}: <span class="{_tone(meta.outcome)}">
{escape(meta.outcome)}</span></h1><p>{escape(meta.instruction)}</p></header>
<figure>{chart(view)}{film}<figcaption>{CAPTION}</figcaption></figure>{interventions}
<footer>{escape(meta.id)}; robot {escape(meta.robot)}; checkpoint {escape(checkpoint)};
{len(view.time)} ticks in {view.time[-1]:.1f} s</footer></main></body></html>'''


CAPTION = ('Blue: the law of V, what Q makes of the actions that replay holds for such a state. '
           'Marks at the foot: the policy began a new chunk. Shaded: a person drove.')


def chart(view: ValueView) -> str:
    """Return the law of V over time with its mean, the bootstrapped quantile and Q."""
    time = [float(t) for t in view.time]
    drawn = Chart((0.0, max(time[-1], 1e-3)), RANGE, width=WIDTH, height=330, x_label='s',
                  y_label='value')
    if 'probs' in view.trace:
        drawn.marks.append(_heat(drawn, view))
    for start, end, _ in view.human:
        drawn.band(start, min(end, time[-1]) - start, COLOURS['human'], 0.2)
    lines = (('mean', 'mean of V', COLOURS['final']),
             ('quantile', 'quantile bootstrapped from', COLOURS['ink']),
             ('q', 'Q of the executed chunk', COLOURS['good']))
    for key, name, colour in lines:
        if key in view.trace:
            drawn.line(Series(name, time, view.trace[key].astype(float).tolist(), colour, 1.8))
    foot = drawn.y(RANGE[0])
    marks = ''.join(f'M{drawn.x(t):.1f} {foot:.1f}v-7' for t in view.chunks)
    drawn.marks.append(f'<path d="{marks}" stroke="{COLOURS["ink"]}" stroke-width="1"/>')
    if view.human:
        drawn.legend.append(('a person drove', COLOURS['human']))
    return drawn.svg()


def heat_image(probs: np.ndarray) -> np.ndarray:
    """Return laws [T, K] as RGBA uint8 [K, T, 4], the highest value in the first row."""
    share = probs / np.maximum(probs.max(1, keepdims=True), 1e-9)
    image = np.empty((probs.shape[1], len(probs), 4), np.uint8)
    image[..., :3] = INK
    image[..., 3] = (150 * np.sqrt(share.T[::-1])).astype(np.uint8)  # sqrt: tails stay visible
    return image


def _heat(drawn: Chart, view: ValueView) -> str:
    done, data = cv2.imencode('.png', cv2.cvtColor(heat_image(view.trace['probs']),
                                                   cv2.COLOR_RGBA2BGRA))
    if not done:
        raise RuntimeError('OpenCV could not encode the value distribution')
    support = view.trace['support']
    left, right = drawn.x(0.0), drawn.x(float(view.time[-1]))
    top, foot = drawn.y(float(support[-1])), drawn.y(float(support[0]))
    return (f'<image x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{foot - top:.1f}" preserveAspectRatio="none" '
            f'href="data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"/>')


def _frame(time: float, data: bytes) -> str:
    text = base64.b64encode(data).decode()
    return f'<img src="data:image/jpeg;base64,{text}" title="{time:.1f} s" alt="at {time:.1f} s">'


def _tone(outcome: str) -> str:
    return outcome if outcome in ('success', 'failure') else 'empty'

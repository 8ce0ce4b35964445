# SPDX-License-Identifier: Apache-2.0
"""The values of an episode as one HTML file that needs nothing else."""

import base64
from html import escape

from lwd_bringup.demo.style import CSS
from lwd_bringup.plots import Plot
from lwd_bringup.value.picture import draw_values, RANGE
from lwd_bringup.value.view import ValueView


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
    plot = Plot((0.0, max(float(view.time[-1]), 1e-3)), RANGE, width=1000, height=330,
                x_label='s', y_label='value')
    draw_values(plot.axes, view)
    return plot.svg()


def _frame(time: float, data: bytes) -> str:
    text = base64.b64encode(data).decode()
    return (f'<div><img src="data:image/jpeg;base64,{text}" alt="at {time:.1f} s">'
            f'<small>{time:.1f} s</small></div>')


def _tone(outcome: str) -> str:
    return outcome if outcome in ('success', 'failure') else 'empty'

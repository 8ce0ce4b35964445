# SPDX-License-Identifier: Apache-2.0
"""Matplotlib figures in one style for every page: inline SVG, without a display or a network."""

from collections.abc import Sequence
import io
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

COLOURS = {'sft': '#9aa5b1', 'dagger': '#e0a33e', 'final': '#2f6fde', 'human': '#e0a33e',
           'bad': '#cc4b4b', 'good': '#2e9e6b', 'ink': '#1f2933', 'soft': '#7b8794',
           'grid': '#e8ecf0'}
STYLE = {
    'font.size': 10, 'svg.fonttype': 'none', 'svg.hashsalt': 'lwd',  # text stays text; same bytes
    'font.family': 'sans-serif', 'text.color': COLOURS['ink'],
    'axes.edgecolor': COLOURS['grid'], 'axes.labelcolor': COLOURS['soft'],
    'axes.spines.top': False, 'axes.spines.right': False, 'axes.spines.left': False,
    'axes.grid': True, 'axes.axisbelow': True, 'grid.color': COLOURS['grid'],
    'xtick.color': COLOURS['soft'], 'ytick.color': COLOURS['soft'],
    'xtick.major.size': 0, 'ytick.major.size': 0, 'lines.solid_capstyle': 'round',
    'legend.frameon': False, 'legend.fontsize': 10, 'legend.handlelength': 1.2,
}
ANONYMOUS = {'Date': None, 'Creator': None, 'Format': None, 'Type': None}


class Plot:
    """One set of axes, `axes`, of the given size in px, x from and y from to their bounds."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], *, width: int = 520,
                 height: int = 230, x_label: str = '', y_label: str = '') -> None:
        """Make the empty figure."""
        with rc_context(STYLE):
            self.figure = Figure(figsize=(width / 72, height / 72), layout='constrained')
            self.axes: Any = self.figure.add_subplot()
            self.axes.set(xlim=x, ylim=y, xlabel=x_label, ylabel=y_label)

    def line(self, x: Sequence[float], y: Sequence[float | None], colour: str, name: str = '',
             width: float = 1.8, style: str = '-') -> None:
        """Draw a line; None and NaN break it."""
        known = [float('nan') if value is None else value for value in y]
        self.axes.plot(x, known, color=colour, lw=width, ls=style, label=name or '_')

    def band(self, start: float, stop: float, colour: str, alpha: float = 0.2,
             name: str = '') -> None:
        """Shade the time from start to stop."""
        self.axes.axvspan(start, stop, color=colour, alpha=alpha, lw=0, label=name or '_')

    def svg(self) -> str:
        """Return the figure as an `<svg>` element that takes the width it is given."""
        with rc_context(STYLE):
            _, labels = self.axes.get_legend_handles_labels()
            if labels:
                self.figure.legend(loc='outside lower left', ncols=len(labels))
            out = io.StringIO()
            self.figure.savefig(out, format='svg', transparent=True, metadata=ANONYMOUS)
        text = out.getvalue()
        return text[text.index('<svg'):].strip()

# SPDX-License-Identifier: Apache-2.0
"""Small charts as inline SVG: lines, bars with intervals, steps. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

COLOURS = {'sft': '#9aa5b1', 'dagger': '#e0a33e', 'final': '#2f6fde', 'human': '#e0a33e',
           'bad': '#cc4b4b', 'good': '#2e9e6b', 'ink': '#1f2933', 'soft': '#9aa5b1',
           'grid': '#e8ecf0'}
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 34


@dataclass(frozen=True)
class Series:
    """A line: x and y of the same length; None in y breaks it."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: str
    width: float = 2.0
    dots: bool = False
    dashed: bool = False


@dataclass
class Chart:
    """A plot area with axes; add to `marks`, then `svg()`."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: int = 520
    height: int = 230
    x_label: str = ''
    y_label: str = ''
    marks: list[str] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)

    def x(self, value: float) -> float:
        """Return the horizontal position of a value, px."""
        low, high = self.x_range
        return LEFT + (value - low) / ((high - low) or 1.0) * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the vertical position of a value, px."""
        low, high = self.y_range
        share = (value - low) / ((high - low) or 1.0)
        return self.height - BOTTOM - share * (self.height - TOP - BOTTOM)

    def line(self, series: Series) -> None:
        """Draw a line."""
        path, pen = [], 'M'
        for x, y in zip(series.x, series.y):
            if y is None:
                pen = 'M'
                continue
            path.append(f'{pen}{self.x(x):.1f} {self.y(y):.1f}')
            pen = 'L'
        dash = ' stroke-dasharray="4 4"' if series.dashed else ''
        self.marks.append(
            f'<path d="{" ".join(path)}" fill="none" stroke="{series.colour}" '
            f'stroke-width="{series.width}" stroke-linejoin="round" stroke-linecap="round"{dash}/>')
        if series.dots:
            self.marks += [f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="2.6" '
                           f'fill="{series.colour}"/>'
                           for x, y in zip(series.x, series.y) if y is not None]
        if series.name:
            self.legend.append((series.name, series.colour))

    def band(self, x: float, width: float, colour: str, opacity: float = 0.12) -> None:
        """Shade a vertical band, in units of x."""
        left, right = self.x(x), self.x(x + width)
        self.marks.append(f'<rect x="{left:.1f}" y="{TOP}" width="{max(right - left, 1):.1f}" '
                          f'height="{self.height - TOP - BOTTOM}" fill="{colour}" '
                          f'opacity="{opacity}"/>')

    def bar(self, x: float, width: float, value: float, colour: str, title: str = '',
            interval: tuple[float, float] | None = None) -> None:
        """Draw a bar centred at x, with an interval as a whisker."""
        left, right, top = self.x(x - width / 2), self.x(x + width / 2), self.y(value)
        base = self.y(self.y_range[0])
        self.marks.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" rx="2" '
            f'height="{max(base - top, 0.5):.1f}" fill="{colour}"><title>{escape(title)}</title>'
            '</rect>')
        if interval is not None:
            middle, low, high = self.x(x), self.y(interval[0]), self.y(interval[1])
            self.marks.append(
                f'<path d="M{middle:.1f} {low:.1f}V{high:.1f}M{middle - 4:.1f} {low:.1f}h8'
                f'M{middle - 4:.1f} {high:.1f}h8" stroke="{COLOURS["ink"]}" stroke-width="1.2" '
                'fill="none"/>')

    def text(self, x: float, y: float, words: str, anchor: str = 'middle',
             colour: str = COLOURS['ink'], bold: bool = False) -> None:
        """Write at a place in px."""
        weight = ' font-weight="600"' if bold else ''
        self.marks.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
                          f'fill="{colour}"{weight}>{escape(words)}</text>')

    def svg(self, x_ticks: bool = True) -> str:
        """Return the chart."""
        parts = [f'<svg viewBox="0 0 {self.width} {self.height}" role="img">',
                 *self._axes(x_ticks), *self.marks, *self._legend(), '</svg>']
        return ''.join(parts)

    def _axes(self, x_ticks: bool) -> list[str]:
        grid, soft = COLOURS['grid'], COLOURS['soft']
        parts = []
        for value in ticks(*self.y_range):
            y = self.y(value)
            parts.append(f'<path d="M{LEFT} {y:.1f}H{self.width - RIGHT}" stroke="{grid}"/>'
                         f'<text x="{LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end" '
                         f'fill="{soft}">{tick_text(value)}</text>')
        if x_ticks:
            for value in ticks(*self.x_range, count=6):
                parts.append(f'<text x="{self.x(value):.1f}" y="{self.height - BOTTOM + 15}" '
                             f'text-anchor="middle" fill="{soft}">{tick_text(value)}</text>')
        if self.x_label:
            parts.append(f'<text x="{self.width - RIGHT - 2}" y="{self.height - BOTTOM - 5}" '
                         f'text-anchor="end" fill="{soft}">{escape(self.x_label)}</text>')
        if self.y_label:
            parts.append(f'<text x="{LEFT}" y="{TOP - 2}" fill="{soft}">{escape(self.y_label)}'
                         '</text>')
        return parts

    def _legend(self) -> list[str]:
        parts, x = [], float(LEFT + 8)
        for name, colour in self.legend:
            parts.append(f'<rect x="{x:.0f}" y="{self.height - 13}" width="10" height="3" rx="1.5" '
                         f'fill="{colour}"/><text x="{x + 14:.0f}" y="{self.height - 8}" '
                         f'fill="{COLOURS["ink"]}">{escape(name)}</text>')
            x += 28 + 6.2 * len(name)
        return parts


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round values between low and high, about `count` of them."""
    span = (high - low) or 1.0
    raw = span / max(count - 1, 1)
    power = 10.0 ** len(str(int(raw))) / 10 if raw >= 1 else 1.0
    while raw < 1 and power > raw:
        power /= 10
    step = min((factor * power for factor in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - raw))
    first = -(-low // step) * step
    found = []
    while first <= high + 1e-9 * span:
        found.append(round(first, 10))
        first += step
    return found


def tick_text(value: float) -> str:
    """Return a tick's label without noise digits."""
    if abs(value) >= 10_000:
        return f'{value / 1000:g}k'
    return f'{value + 0.0:g}'  # + 0.0: no "-0"

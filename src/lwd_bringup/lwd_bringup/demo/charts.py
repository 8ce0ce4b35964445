# SPDX-License-Identifier: Apache-2.0
"""The report's charts, each from plain data to one SVG."""

from collections.abc import Mapping, Sequence
from typing import Any

from lwd_bringup.demo.stats import moving_mean
from lwd_bringup.plots import COLOURS, Plot
from lwd_core.episode.meta import EpisodeMeta

WINDOW = 20  # episodes
TITLES = {'sft': 'SFT', 'dagger': 'HG-DAgger', 'final': 'LWD'}
ROBOT_COLOURS = (COLOURS['final'], COLOURS['good'], COLOURS['human'])
BAR = 0.26  # of the room between two groups


def success_bars(success: Mapping[str, Any]) -> str:
    """Return success by checkpoint: all starts, then task by task, with 95 % intervals."""
    tasks = list(next(iter(success.values()))['tasks'])
    groups = ['all tasks', *tasks] if len(tasks) > 1 else tasks
    plot = Plot((-0.5, len(groups) - 0.5), (0.0, 1.12))  # room for the figures above the bars
    for index, (policy, row) in enumerate(success.items()):
        cells = [(place + (index - 1) * BAR,
                  row if group == 'all tasks' else row['tasks'].get(group))
                 for place, group in enumerate(groups)]
        known = [(x, cell) for x, cell in cells if cell and cell['mean'] is not None]
        plot.axes.bar([x for x, _ in known], [cell['mean'] for _, cell in known], 0.9 * BAR,
                      color=COLOURS[policy], label=TITLES[policy])
        for x, cell in known:
            plot.axes.plot([x, x], [cell['low'], cell['high']], color=COLOURS['ink'], lw=1.2,
                           marker='_', ms=7)
            plot.axes.annotate(f"{cell['mean']:.2f}", (x, cell['high']), (0, 3),
                               textcoords='offset points', ha='center', fontsize=9)
    plot.axes.set_xticks(range(len(groups)), groups, color=COLOURS['ink'])
    plot.axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    plot.axes.grid(visible=False, axis='x')
    return plot.svg()


def success_over_time(deployed: Sequence[EpisodeMeta]) -> str:
    """Return the share of successful and of unaided episodes, with the checkpoints that acted."""
    plot = Plot((1, max(len(deployed), 2)), (0.0, 1.02), x_label='episode')
    plot.axes.grid(visible=False, axis='x')
    for start, stop, index in _checkpoint_spans(deployed):
        if index % 2:
            plot.band(start, stop, COLOURS['final'], 0.05)
    x = list(range(1, len(deployed) + 1))
    done = [float(meta.outcome == 'success') for meta in deployed]
    alone = [float(meta.outcome == 'success' and not meta.interventions) for meta in deployed]
    plot.line(x, moving_mean(done, WINDOW), COLOURS['good'], 'success')
    plot.line(x, moving_mean(alone, WINDOW), COLOURS['final'], 'success without takeover', 2.4)
    return plot.svg()


def takeovers(deployed: Sequence[EpisodeMeta]) -> str:
    """Return takeovers per episode and their moving mean."""
    counts = [float(len(meta.interventions)) for meta in deployed]
    x = list(range(1, len(counts) + 1))
    plot = Plot((0.5, max(len(counts), 2) + 0.5), (0.0, max([*counts, 1.0]) * 1.02),
                x_label='episode')
    plot.axes.bar(x, counts, 0.7, color='#f0d9ae')
    plot.line(x, moving_mean(counts, WINDOW), COLOURS['human'], f'mean of the last {WINDOW}', 2.4)
    return plot.svg()


def curves(rows: Sequence[Mapping[str, Any]], names: Mapping[str, tuple[str, str]],
           y_range: tuple[float, float] | None = None, width: int = 520) -> str:
    """Return learner metrics over learner steps; names maps a metric to (title, colour)."""
    shown = {key: [row.get(key) for row in rows] for key in names}
    known = [value for column in shown.values() for value in column if value is not None]
    if len(rows) < 2 or not known:
        return '<p class="empty">No data: the learner reported fewer than two steps.</p>'
    steps = [row['step'] for row in rows]
    y_range = y_range or (min(0.0, *known), max(known) * 1.05 or 1.0)
    plot = Plot((steps[0], steps[-1]), y_range, width=width, x_label='learner step')
    for key, (title, colour) in names.items():
        plot.line(steps, shown[key], colour, title, 1.6)
    return plot.svg()


def timing(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return control ticks per wall second of each robot over time."""
    robots = sorted({row['robot'] for row in rows})
    lines: list[tuple[str, list[float], list[float]]] = []
    for robot in robots:
        own = [row for row in rows if row['robot'] == robot]
        pairs = [(a, b) for a, b in zip(own, own[1:])
                 if b['t'] > a['t'] and b['ticks'] > a['ticks']]
        lines.append((robot, [b['t'] for _, b in pairs],
                      [(b['ticks'] - a['ticks']) / (b['t'] - a['t']) for a, b in pairs]))
    everything = [value for _, _, values in lines for value in values]
    if not everything:
        return '<p class="empty">No data: the policy nodes reported no ticks.</p>'
    plot = Plot((0.0, max(x[-1] for _, x, _ in lines if x)), (0.0, max(everything) * 1.1),
                x_label='s of deployment', y_label='1/s')
    for index, (robot, x, y) in enumerate(lines):
        plot.line(x, moving_mean(y, 5), ROBOT_COLOURS[index % 3], robot, 1.6)
    return plot.svg()


def latency(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the time from observation to chunk, median and 99th percentile, ms."""
    known = [row for row in rows if row.get('latency_p50') is not None]
    if len(known) < 2:
        return '<p class="empty">No data: the policy nodes reported no latency.</p>'
    top = max(1e3 * row['latency_p99'] for row in known)
    plot = Plot((0.0, max(row['t'] for row in known)), (0.0, top * 1.1),
                x_label='s of deployment', y_label='ms')
    for index, robot in enumerate(sorted({row['robot'] for row in known})):
        own = [row for row in known if row['robot'] == robot]
        x, colour = [row['t'] for row in own], ROBOT_COLOURS[index % 3]
        plot.line(x, [1e3 * row['latency_p50'] for row in own], colour, f'{robot} p50')
        plot.line(x, [1e3 * row['latency_p99'] for row in own], colour, width=1.0, style='--')
    return plot.svg()


def value_curve(strip: Mapping[str, Any]) -> str:
    """Return the value over an episode: mean of V, and the spread of its law."""
    values = strip['values']
    steps = list(range(len(values['mean'])))
    plot = Plot((0, max(strip['steps'], 1)), (-0.1, 1.1), width=960, height=150,
                x_label='control step')
    colour = COLOURS['good'] if strip['success'] else COLOURS['bad']
    if 'low' in values:
        plot.axes.fill_between(steps, values['low'], values['high'], color=colour, alpha=0.14,
                               lw=0)
    plot.line(steps, values['mean'], colour, width=2.2)
    for step in strip['shown']:
        plot.axes.axvline(step, color=COLOURS['soft'], lw=1, alpha=0.5)
    return plot.svg()


def _checkpoint_spans(deployed: Sequence[EpisodeMeta]) -> list[tuple[int, int, int]]:
    """Return (first episode, one past the last, running number) for each acting checkpoint."""
    spans: list[list[Any]] = []
    for place, meta in enumerate(deployed, start=1):
        digest = meta.checkpoints[-1]['digest'] if meta.checkpoints else ''
        if not spans or spans[-1][2] != digest:
            spans.append([place, place, digest])
        spans[-1][1] = place + 1
    return [(first, last, index) for index, (first, last, _) in enumerate(spans)]

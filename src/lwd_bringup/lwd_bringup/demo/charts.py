# SPDX-License-Identifier: Apache-2.0
"""The report's charts, each from plain data to one SVG."""

from collections.abc import Mapping, Sequence
from typing import Any

from lwd_bringup.demo.stats import moving_mean
from lwd_bringup.demo.svg import Chart, COLOURS, Series
from lwd_core.episode.meta import EpisodeMeta

WINDOW = 20  # episodes
TITLES = {'sft': 'SFT', 'dagger': 'HG-DAgger', 'final': 'LWD'}


def success_bars(success: Mapping[str, Any]) -> str:
    """Return success by checkpoint: all starts, then task by task, with 95 % intervals."""
    tasks = list(next(iter(success.values()))['tasks'])
    groups = ['all tasks', *tasks] if len(tasks) > 1 else tasks
    chart = Chart((-0.5, len(groups) - 0.5), (0.0, 1.0))
    for place, group in enumerate(groups):
        for index, (policy, row) in enumerate(success.items()):
            cell = row if group == 'all tasks' else row['tasks'].get(group)
            if not cell or cell['mean'] is None:
                continue
            x = place + (index - 1) * 0.26
            chart.bar(x, 0.22, cell['mean'], COLOURS[policy],
                      f"{TITLES[policy]}, {group}: {cell['mean']:.2f} of {cell['n']}",
                      (cell['low'], cell['high']))
            chart.text(chart.x(x), chart.y(cell['high']) - 5, f"{cell['mean']:.2f}")
        chart.text(chart.x(place), chart.height - 20, group, bold=group == 'all tasks')
    chart.legend = [(TITLES[name], COLOURS[name]) for name in success]
    return chart.svg(x_ticks=False)


def success_over_time(deployed: Sequence[EpisodeMeta]) -> str:
    """Return the share of successful and of unaided episodes, with the checkpoints that acted."""
    chart = Chart((1, max(len(deployed), 2)), (0.0, 1.0), x_label='episode')
    for start, stop, index in _checkpoint_spans(deployed):
        if index % 2:
            chart.band(start, stop - start, COLOURS['final'], 0.05)
    x = list(range(1, len(deployed) + 1))
    done = [float(meta.outcome == 'success') for meta in deployed]
    alone = [float(meta.outcome == 'success' and not meta.interventions) for meta in deployed]
    chart.line(Series('success', x, moving_mean(done, WINDOW), COLOURS['good']))
    chart.line(Series('success without takeover', x, moving_mean(alone, WINDOW), COLOURS['final'],
                      2.6))
    return chart.svg()


def takeovers(deployed: Sequence[EpisodeMeta]) -> str:
    """Return takeovers per episode and their moving mean."""
    counts = [float(len(meta.interventions)) for meta in deployed]
    x = list(range(1, len(counts) + 1))
    chart = Chart((1, max(len(counts), 2)), (0.0, max([*counts, 1.0])), x_label='episode')
    for place, count in zip(x, counts):
        if count:
            chart.bar(place, 0.7, count, '#f0d9ae', f'episode {place}: {count:.0f} takeovers')
    chart.line(Series(f'mean of the last {WINDOW}', x, moving_mean(counts, WINDOW),
                      COLOURS['human'], 2.6))
    return chart.svg()


def curves(rows: Sequence[Mapping[str, Any]], names: Mapping[str, tuple[str, str]],
           y_range: tuple[float, float] | None = None, width: int = 520) -> str:
    """Return learner metrics over learner steps; names maps a metric to (title, colour)."""
    shown = {key: [row.get(key) for row in rows] for key in names}
    known = [value for column in shown.values() for value in column if value is not None]
    if len(rows) < 2 or not known:
        return '<p class="empty">No data: the learner reported fewer than two steps.</p>'
    steps = [row['step'] for row in rows]
    top = max(known) * 1.05 or 1.0
    chart = Chart((steps[0], steps[-1]), y_range or (min(0.0, *known), top), width=width,
                  x_label='learner step')
    for key, (title, colour) in names.items():
        chart.line(Series(title, steps, shown[key], colour, 1.8))
    return chart.svg()


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
    chart = Chart((0.0, max(x[-1] for _, x, _ in lines if x)), (0.0, max(everything) * 1.1),
                  width=460, height=210, x_label='s of deployment')
    for (robot, x, y), colour in zip(lines, (COLOURS['final'], COLOURS['good'], COLOURS['human'])):
        chart.line(Series(robot, x, moving_mean(y, 5), colour, 1.8))
    return chart.svg()


def latency(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the time from observation to chunk, median and 99th percentile, ms."""
    known = [row for row in rows if row.get('latency_p50') is not None]
    if len(known) < 2:
        return '<p class="empty">No data: the policy nodes reported no latency.</p>'
    top = max(1e3 * row['latency_p99'] for row in known)
    chart = Chart((0.0, max(row['t'] for row in known)), (0.0, top * 1.1),
                  x_label='s of deployment', y_label='ms')
    for index, robot in enumerate(sorted({row['robot'] for row in known})):
        own = [row for row in known if row['robot'] == robot]
        x = [row['t'] for row in own]
        colour = (COLOURS['final'], COLOURS['good'], COLOURS['human'])[index % 3]
        chart.line(Series(f'{robot} p50', x, [1e3 * row['latency_p50'] for row in own], colour))
        chart.line(Series('', x, [1e3 * row['latency_p99'] for row in own], colour, 1.2,
                          dashed=True))
    return chart.svg()


def value_curve(strip: Mapping[str, Any]) -> str:
    """Return the value over an episode: mean of V, and the spread of its law."""
    values = strip['values']
    steps = list(range(len(values['mean'])))
    chart = Chart((0, max(strip['steps'], 1)), (-0.1, 1.1), width=960, height=150,
                  x_label='control step')
    colour = COLOURS['good'] if strip['success'] else COLOURS['bad']
    if 'low' in values:
        ring = [f'{chart.x(x):.1f} {chart.y(y):.1f}' for x, y in zip(steps, values['high'])]
        ring += [f'{chart.x(x):.1f} {chart.y(y):.1f}'
                 for x, y in reversed(list(zip(steps, values['low'])))]
        chart.marks.append(f'<path d="M{"L".join(ring)}Z" fill="{colour}" opacity=".14"/>')
    chart.line(Series('', steps, values['mean'], colour, 2.2))
    for step in strip['shown']:
        chart.band(step, 0.0, COLOURS['soft'], 0.5)
    return chart.svg()


def _checkpoint_spans(deployed: Sequence[EpisodeMeta]) -> list[tuple[int, int, int]]:
    """Return (first episode, one past the last, running number) for each acting checkpoint."""
    spans: list[list[Any]] = []
    for place, meta in enumerate(deployed, start=1):
        digest = meta.checkpoints[-1]['digest'] if meta.checkpoints else ''
        if not spans or spans[-1][2] != digest:
            spans.append([place, place, digest])
        spans[-1][1] = place + 1
    return [(first, last, index) for index, (first, last, _) in enumerate(spans)]

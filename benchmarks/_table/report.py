# SPDX-License-Identifier: Apache-2.0
"""From the ledger to figures: one row a method and phase, intervals over seeds, markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from _table.plan import is_long, methods_of, Profile

RATE = 25.0  # control steps a second
DRAWS = 2000  # of the bootstrap


@dataclass(frozen=True)
class Row:
    """One method after one phase: all seeds' evaluation episodes [task, start, score, steps]."""

    method: str
    title: str
    online: bool
    numbers: list[int]  # of the seeds
    seeds: list[list[list[Any]]]
    hours: float  # of robot time that its training used, mean over seeds

    def scores(self, tasks: Sequence[str]) -> list[list[float]]:
        """Return the scores in these tasks by seed."""
        return [[row[2] for row in rows if row[0] in tasks] for rows in self.seeds]

    @property
    def cycle(self) -> float:
        """Return the mean episode in s, failures at their time limit."""
        return float(np.mean([row[3] for rows in self.seeds for row in rows])) / RATE


def rows_of(profile: Profile, results: dict[str, dict[str, Any]]) -> list[Row]:
    """Return what is finished; a method's row uses the seeds that have it."""
    rows = []
    for name, method in methods_of(profile).items():
        stages = [0] if method.offline or name == 'sft' else []
        stages += [profile.rounds] if method.online else []
        for stage in stages:
            found = [seed for seed in range(profile.seeds)
                     if f'{seed}/{name}/evaluate{stage}' in results]
            if not found:
                continue
            suffix = '' if name == 'sft' else (' online' if stage else ' offline')
            rows.append(Row(
                name, method.title + suffix, bool(stage), found,
                [results[f'{seed}/{name}/evaluate{stage}']['rows'] for seed in found],
                float(np.mean([robot_hours(results, seed, name, stage) for seed in found]))))
    return rows


def robot_hours(results: dict[str, dict[str, Any]], seed: int, method: str, stage: int) -> float:
    """Return the robot time of all data that a stage learned from, in h: SFT's are the demos."""
    data = results[f'{seed}/data']
    steps = data['demonstration_steps' if method == 'sft' else 'robot_steps']
    for number in range(1, stage + 1):
        steps += results[f'{seed}/{method}/round{number}']['robot_steps']
    return float(steps / RATE / 3600)


def interval(groups: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return mean and 95 % interval of scores by seed: a bootstrap over seeds, then episodes."""
    rng = np.random.default_rng(0)
    arrays = [np.array(group) for group in groups if len(group)]
    if not arrays:
        return float('nan'), float('nan'), float('nan')
    means = []
    for _ in range(DRAWS):
        chosen = rng.integers(0, len(arrays), len(arrays))
        means.append(np.mean([rng.choice(arrays[i], len(arrays[i])).mean() for i in chosen]))
    low, high = np.quantile(means, (0.025, 0.975))
    return float(np.mean([array.mean() for array in arrays])), float(low), float(high)


def curve(profile: Profile, results: dict[str, dict[str, Any]], method: str
          ) -> list[tuple[float, float]]:
    """Return (robot hours, mean score) along the rounds, over the seeds that have each."""
    points = []
    for stage in range(profile.rounds + 1):
        name = method if stage or methods_of(profile)[method].offline else 'sft'
        found = [seed for seed in range(profile.seeds)
                 if f'{seed}/{name}/evaluate{stage}' in results]
        if found:
            scores = [np.mean([row[2] for row in results[f'{seed}/{name}/evaluate{stage}']['rows']])
                      for seed in found]
            hours = [robot_hours(results, seed, name, stage) for seed in found]
            points.append((float(np.mean(hours)), float(np.mean(scores))))
    return points


def table(profile: Profile, rows: Sequence[Row]) -> str:
    """Return the table as markdown; the best of every column is bold."""
    long = [task for task in profile.tasks if is_long(task)]
    columns: list[tuple[str, list[str]]] = [(task, [task]) for task in profile.tasks]
    if long:
        columns.append(('long tasks', long))
    columns.append(('average', list(profile.tasks)))
    cells = [[interval(row.scores(tasks)) for _, tasks in columns] for row in rows]
    best = [max(cell[i][0] for cell in cells) for i in range(len(columns))]
    lines = ['| method | ' + ' | '.join(name for name, _ in columns)
             + ' | cycle, s | robot hours | seeds |',
             '|---' * (len(columns) + 4) + '|']
    for row, found in zip(rows, cells):
        texts = []
        for index, (mean, low, high) in enumerate(found):
            text = f'{mean:.2f}'
            text = f'**{text}**' if mean == best[index] else text
            wide = index == len(columns) - 1 or columns[index][0] == 'long tasks'
            texts.append(f'{text} [{low:.2f}, {high:.2f}]' if wide else text)
        lines.append(f'| {row.title} | ' + ' | '.join(texts)
                     + f' | {row.cycle:.1f} | {row.hours:.2f} | {len(row.seeds)} |')
    return '\n'.join(lines)


def critic_table(profile: Profile, results: dict[str, dict[str, Any]]) -> str:
    """Return what the critics ended with, mean over seeds, as markdown."""
    wanted = ('q_success', 'q_failure', 'q_human', 'q_policy', 'tau', 'entropy',
              'updates_per_second', 'data_wait_share')
    lines = ['| method | ' + ' | '.join(wanted) + ' |', '|---' * (len(wanted) + 1) + '|']
    for name, method in methods_of(profile).items():
        stage = f'round{profile.rounds}' if method.online else 'offline'
        found = [results[key]['metrics'] for seed in range(profile.seeds)
                 if 'metrics' in results.get(key := f'{seed}/{name}/{stage}', {})]
        if not any('q_success' in one for one in found):
            continue
        means = [[one[key] for one in found if one.get(key) is not None] for key in wanted]
        lines.append(f'| {method.title} | ' + ' | '.join(
            f'{np.mean(values):.3g}' if values else '-' for values in means) + ' |')
    return '\n'.join(lines)

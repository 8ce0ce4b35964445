# SPDX-License-Identifier: Apache-2.0
"""Differences between rows on the same starts: what chance between starts cannot blur."""

from __future__ import annotations

from collections.abc import Sequence

from _table.report import interval, Row


def differences(row: Row, other: Row, tasks: Sequence[str]) -> list[list[float]]:
    """Return score minus the other's by seed, over the seeds and starts both were judged on."""
    theirs = dict(zip(other.numbers, other.seeds))
    found = []
    for number, own in zip(row.numbers, row.seeds):
        known = {(task, start): score for task, start, score, _ in theirs.get(number, ())}
        found.append([score - known[task, start] for task, start, score, _ in own
                      if task in tasks and (task, start) in known])
    return [one for one in found if one]


def paired_table(rows: Sequence[Row], reference: Row, tasks: Sequence[str], long: Sequence[str]
                 ) -> str:
    """Return `reference` minus every other row, in points, as markdown."""
    columns = [('long tasks', long)] if long else []
    columns.append(('all tasks', tasks))
    lines = [f'| {reference.title} minus | ' + ' | '.join(name for name, _ in columns)
             + ' | seeds |', '|---' * (len(columns) + 2) + '|']
    for row in rows:
        if row is reference:
            continue
        cells = []
        for _, chosen in columns:
            mean, low, high = (100 * x for x in interval(differences(reference, row, chosen)))
            text = f'{mean:+.1f} [{low:+.1f}, {high:+.1f}]'
            cells.append(f'**{text}**' if low > 0 or high < 0 else text)
        seeds = len(set(row.numbers) & set(reference.numbers))
        lines.append(f'| {row.title} | ' + ' | '.join(cells) + f' | {seeds} |')
    return '\n'.join(lines)

# SPDX-License-Identifier: Apache-2.0
"""Success rates with their uncertainty. Pure."""

from collections.abc import Sequence
import math
from typing import Any

Z95 = 1.959964


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion; (0, 1) without data."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def rate(outcomes: Sequence[bool]) -> dict[str, Any]:
    """Return mean, Wilson 95 % interval and n; a mean of None says that there is no data."""
    n, successes = len(outcomes), sum(outcomes)
    low, high = wilson(successes, n)
    return {'mean': round(successes / n, 4) if n else None, 'low': round(low, 4),
            'high': round(high, 4), 'n': n}


def success_table(rows: Sequence[dict[str, Any]], policies: Sequence[str]) -> dict[str, Any]:
    """
    Return the summary's `success` from evaluation rows {policy, task, success}.

    The mean is over all starts; every task has as many, so it is the mean of the tasks too.
    """
    table = {}
    for policy in policies:
        own = [row for row in rows if row['policy'] == policy]
        tasks = dict.fromkeys(row['task'] for row in own)
        table[policy] = {**rate([row['success'] for row in own]), 'tasks': {
            task: rate([row['success'] for row in own if row['task'] == task]) for task in tasks}}
    return table


def moving_mean(values: Sequence[float], window: int) -> list[float]:
    """Return the trailing mean of up to `window` values."""
    return [sum(values[max(0, i + 1 - window):i + 1]) / (i + 1 - max(0, i + 1 - window))
            for i in range(len(values))]

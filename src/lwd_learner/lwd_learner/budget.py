# SPDX-License-Identifier: Apache-2.0
"""How long to train, what to refuse to go on with, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
import math
import time
from typing import Any

from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Report = Callable[[float, str], None]  # (fraction done in [0, 1], what it is at)
Clock = Callable[[], float]  # s


class Diverged(RuntimeError):
    """Training must not go on, and nothing of it is published; the message is the reason."""


@dataclass(frozen=True)
class Limits:
    """What a healthy run stays within."""

    value_loss: float = 50.0  # nat; a uniform guess over 201 atoms costs 5.3
    q: float = 10.0  # |Q| lives in [0, 1]

    def check(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Raise Diverged naming the metric, the value and the bound."""
        for name, value in metrics.items():
            if not isinstance(value, (int, float)):
                continue
            # a share of rows that is empty has no mean: NaN there is 'no data'
            if not math.isfinite(value) and name not in NO_DATA:
                raise Diverged(f'{name} is {value} at step {step}: lower the learning rates')
            bound = self.value_loss if name == 'value_loss' else self.q
            if (name == 'value_loss' or name in VALUES) and abs(value) > bound:
                raise Diverged(f'|{name}| is {abs(value):.3g} at step {step}, bound {bound:g}')


PARTS = tuple(f'{letter}_{part}' for letter in 'qv'
              for part in ('success', 'failure', 'on_human', 'on_policy'))
NO_DATA = (*PARTS, 'q_human', 'q_policy', 'tau')
VALUES = (*PARTS, 'q_mean', 'q_human', 'q_policy', 'target_mean', 'target_max')  # live in [0, 1]


class Budget:
    """Counts down steps and seconds, whichever ends first; 0 seconds means no time limit."""

    def __init__(self, steps: int, seconds: float = 0.0, clock: Clock = time.monotonic) -> None:
        self.steps = steps
        self.seconds = seconds
        self.done = 0
        self._clock = clock
        self._began: float | None = None  # the first time somebody asks

    @property
    def fraction(self) -> float:
        """Return the used share, in [0, 1]."""
        if self._began is None:
            self._began = self._clock()
        used = self.done / self.steps
        if self.seconds:
            used = max(used, (self._clock() - self._began) / self.seconds)
        return min(used, 1.0)

    def __iter__(self) -> Iterator[int]:
        """Yield step numbers until the budget is used."""
        while self.fraction < 1.0:
            yield self.done
            self.done += 1


@contextmanager
def progress_bar(title: str, show: bool = True) -> Iterator[Report | None]:
    """Show a bar on the terminal and yield what to report to; None when hidden."""
    if not show:
        yield None
        return
    columns = (
        TextColumn('{task.description}'), BarColumn(), TextColumn('{task.percentage:3.0f} %'),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn('{task.fields[detail]}'),
    )
    with Progress(*columns) as progress:
        task = progress.add_task(title, total=1.0, detail='')

        def report(fraction: float, detail: str) -> None:
            progress.update(task, completed=fraction, detail=detail)

        yield report
        progress.update(task, completed=1.0)

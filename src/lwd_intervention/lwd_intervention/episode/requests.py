# SPDX-License-Identifier: Apache-2.0
"""What people and programs ask of the episode machine, and the checks that need no state of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math

from lwd_core.episode.meta import SCORES
from lwd_core.task import require_task, SpecError, TaskSpec
from lwd_intervention.modes import Mode


class Refused(ValueError):
    """A request the machine does not grant; the message says why and what to do."""


@dataclass(frozen=True)
class Start:
    """A request for an episode; '' and 0 take the task's own."""

    task: str
    instruction: str = ''
    start_mode: int = Mode.POLICY
    time_limit: float = 0.0
    seed: int = -1


def check_start(request: Start, tasks: Mapping[str, TaskSpec]) -> TaskSpec:
    """Return the task of a request; Refused naming what cannot be run."""
    try:
        task = require_task(tasks, request.task, 'episode')
    except SpecError as error:
        raise Refused(str(error)) from error
    if not 0.0 <= request.time_limit < math.inf:
        raise Refused(f"time_limit: {request.time_limit} s, must be 0 (the task's own) or more")
    if request.start_mode not in (Mode.POLICY, Mode.HUMAN):
        raise Refused(f'start_mode: {request.start_mode}, must be 1 (policy) or 2 (human)')
    return task


def check_scores(scores: Sequence[float], task: TaskSpec) -> tuple[float, ...]:
    """Return the scores of a task's sub-steps, one each or none; Refused naming a wrong one."""
    if len(scores) not in (0, len(task.stages)):
        raise Refused(f'substep_scores: {len(scores)} given, task {task.name} has '
                      f'{len(task.stages)} stages')
    wrong = [score for score in scores if score not in SCORES]
    if wrong:
        raise Refused(f'substep_scores: {wrong[0]}, must be 0, 0.5 or 1')
    return tuple(float(score) for score in scores)

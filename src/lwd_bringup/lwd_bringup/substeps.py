# SPDX-License-Identifier: Apache-2.0
"""Scores of a task's sub-steps as people write them: `reach=1, grasp=0.5`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lwd_bringup.paths import config_dir
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.spec import SpecError
from lwd_core.task import load_tasks, require_task

SCORES = {'0': 0.0, '0.5': 0.5, '.5': 0.5, '1': 1.0, '0.0': 0.0, '1.0': 1.0}


def stages_of(task: str, tasks_file: Path | None = None) -> tuple[str, ...]:
    """Return a task's sub-steps, by the task file given or else by those of the configuration.

    Raises SpecError where no file has the task, or two files disagree.
    """
    if tasks_file is not None:
        return require_task(load_tasks(tasks_file), task, str(tasks_file)).stages
    files = sorted((config_dir() / 'tasks').glob('*.yaml'))
    found = {known[task].stages for known in map(load_tasks, files) if task in known}
    if len(found) != 1:
        what = 'is in none' if not found else 'has other sub-steps in each'
        raise SpecError(f'task {task!r} {what} of {", ".join(map(str, files)) or "config/tasks"}: '
                        'name its task file with --tasks-file')
    return found.pop()


def parse_scores(text: str, task: str, stages: Sequence[str],
                 before: Sequence[float] = ()) -> tuple[float, ...]:
    """Read `name=score, ...` into one score a sub-step, in the task's order.

    A sub-step may be named by how it starts; one that is not named keeps its score from `before`.
    Raises ValueError naming what is wrong and what may stand there.
    """
    if not stages:
        raise ValueError(f'--scores: task {task!r} has no sub-steps, its outcome says all')
    scores = dict(zip(stages, before)) if len(before) == len(stages) else {}
    said: set[str] = set()
    for part in filter(None, map(str.strip, text.split(','))):
        name, equals, value = (piece.strip() for piece in part.partition('='))
        stage = _stage(name, task, stages)
        if not equals or value not in SCORES:
            raise ValueError(f'--scores: {part!r}: write {stage}=SCORE with a score of 0, 0.5 or 1')
        if stage in said:
            raise ValueError(f'--scores: {stage!r} is given twice')
        said.add(stage)
        scores[stage] = SCORES[value]
    missing = [stage for stage in stages if stage not in scores]
    if missing or not said:
        raise ValueError(f'--scores: no score yet for {", ".join(missing or stages)}; '
                         f'task {task!r} has {", ".join(stages)}')
    return tuple(scores[stage] for stage in stages)


def describe(stages: Sequence[str], scores: Sequence[float]) -> str:
    """Return `tea 1, coffee 0.5`; the scores alone where they are not those of the sub-steps."""
    if len(stages) != len(scores):
        return ', '.join(f'{score:g}' for score in scores)
    return ', '.join(f'{stage} {score:g}' for stage, score in zip(stages, scores))


def label_lines(meta: EpisodeMeta) -> list[str]:
    """Return an episode's label and every one before it, in words, newest first."""
    try:
        stages = stages_of(meta.task)
    except SpecError:   # a task of another checkout: the scores are told without their names
        stages = ()

    def line(outcome: str, by: str, scores: Sequence[float]) -> str:
        told = f': {describe(stages, scores)}' if scores else ''
        return f'{outcome} by {by or "nobody"}{told}'

    lines = [f'label: {line(meta.outcome, meta.labelled_by, meta.substep_scores)}']
    scores: Sequence[float] = meta.substep_scores
    for one in reversed(meta.labels):
        scores = one.get('were', scores)
        lines.append(f'until {one["at"]}: {line(one["was"], one["was_by"], scores)}')
    return lines


def _stage(name: str, task: str, stages: Sequence[str]) -> str:
    wanted = name.casefold()
    found = [stage for stage in stages if stage.casefold() == wanted] or [
        stage for stage in stages if wanted and stage.casefold().startswith(wanted)]
    if len(found) != 1:
        what = 'is no' if not found else f'may be {" or ".join(found)}: which'
        raise ValueError(f'--scores: {name!r} {what} sub-step of task {task!r}, '
                         f'which has {", ".join(stages)}')
    return found[0]

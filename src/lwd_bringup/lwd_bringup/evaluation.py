# SPDX-License-Identifier: Apache-2.0
"""Roll out one checkpoint from held-out starts, in process."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from lwd_bringup.demo.learner_config import chunk_rhythm
from lwd_bringup.demo.stats import rate
from lwd_bringup.paths import config_dir
from lwd_core.checkpoint import (
    CheckpointError,
    CheckpointRef,
    list_checkpoints,
    load_checkpoint,
    read_channel,
)
from lwd_core.flow.bundle import unpack_acting, VISION
from lwd_core.robot import RobotSpec
from lwd_core.store import open_store, Store
from lwd_core.task import load_tasks
from lwd_sim.evaluate import batched, evaluation_seeds, rollout
from lwd_sim.tasks import get_task

BLOCK = 10  # starts of every task at once: more worlds need more memory
CHANNELS = ('stable', 'candidate')


def find(which: str, store: str) -> tuple[Store, CheckpointRef]:
    """Return the store and the checkpoint that a folder, a channel or a digest's start names."""
    folder = Path(which)
    if (folder / 'manifest.json').is_file() and folder.resolve().parent.name == 'checkpoints':
        opened = open_store(folder.resolve().parents[1], create=False)
        name = f'checkpoints/{folder.resolve().name}'
        refs = [ref for ref in list_checkpoints(opened) if ref.uri == name]
    else:
        opened = open_store(store, create=False)
        channel = read_channel(opened, which) if which in CHANNELS else None
        refs = [channel] if channel else [
            ref for ref in list_checkpoints(opened) if ref.digest.startswith(which)]
    if len(refs) != 1:
        what = 'no checkpoint' if not refs else f'{len(refs)} checkpoints'
        raise ValueError(f"{what} '{which}' in {opened.url}: name another --store, or see "
                         f'`lwd checkpoints list --store {opened.url}`')
    return opened, refs[0]


def evaluate(which: str, store: str, tasks: Sequence[str], episodes: int, first: int = 0,
             threads: int = 1, report: Callable[[float, str], None] | None = None,
             suite: bool = False) -> dict[str, Any]:
    """
    Return {digest, step, observation, tasks: {name: rate and mean seconds}, all, rows}.

    A long task has 'substeps' too: how many episodes scored each 1, 0.5 and 0, and the mean.
    Starts are the held-out ones from number `first`; every task gets as many.
    """
    torch.set_num_threads(threads)
    robot = RobotSpec.from_yaml(config_dir() / 'robots' / 'sim.yaml')
    known = load_tasks(task_file(suite))
    for task in tasks:
        if task not in known:
            raise ValueError(f"--tasks: '{task}' is unknown; known: {', '.join(known)}")
    opened, ref = find(which, store)
    contents = load_checkpoint(opened, ref)
    if contents.kind == 'arrays':
        raise CheckpointError(f'{ref.digest[:12]} was trained from arrays and drives no robot: '
                              'call it with lwd_learner.arrays.load_policy')
    contents = load_checkpoint(opened, ref, robot)
    acting = unpack_acting(contents.config, contents.normalization, contents.tensors)
    pixels, wanted = VISION in contents.config, list(tasks) or list(known)
    rows = _roll(acting, wanted, list(evaluation_seeds(first + episodes))[first:], pixels, report)
    return {'digest': ref.digest, 'step': ref.step, 'kind': contents.kind,
            'observation': 'pixels' if pixels else 'state', 'first_start': first,
            **_summary(rows, robot.control_rate), 'rows': rows}


def task_file(suite: bool) -> Path:
    """Return the file of the tasks to evaluate; ValueError where there is no suite."""
    path = config_dir() / 'tasks' / ('suite.yaml' if suite else 'sim.yaml')
    if not path.is_file():
        raise ValueError(f'--suite: {path} is not there: leave --suite out to evaluate the three '
                         'tasks of the demonstration')
    return path


def _roll(acting: Any, tasks: list[str], seeds: list[int], pixels: bool,
          report: Callable[[float, str], None] | None) -> list[dict[str, Any]]:
    execute_steps, lookahead = chunk_rhythm()
    rows: list[dict[str, Any]] = []
    for begin in range(0, len(seeds), BLOCK):
        for found in rollout(batched(acting), tasks, seeds[begin:begin + BLOCK],
                             execute_steps=execute_steps, lookahead=lookahead, pixels=pixels):
            rows.append({'task': found.task, 'seed': found.seed, 'success': bool(found.success),
                         'score': float(found.score), 'scores': list(found.scores),
                         'steps': found.steps})
        if report is not None:
            done = sum(row['success'] for row in rows)
            report(len(rows) / (len(tasks) * len(seeds)), f'{done} of {len(rows)} successful')
    return rows


def _summary(rows: list[dict[str, Any]], control_rate: float) -> dict[str, Any]:
    def cell(own: list[dict[str, Any]]) -> dict[str, Any]:
        seconds = sum(row['steps'] for row in own) / len(own) / control_rate
        score = sum(row['score'] for row in own) / len(own)
        return {**rate([row['success'] for row in own]), 'score': round(score, 4),
                'seconds': round(seconds, 2)}

    tasks = {}
    for name in dict.fromkeys(row['task'] for row in rows):
        own = [row for row in rows if row['task'] == name]
        stages = substeps(get_task(name).stages, [row['scores'] for row in own])
        tasks[name] = cell(own) | ({'substeps': stages} if stages else {})
    return {'tasks': tasks, 'all': cell(rows)}


def substeps(names: Sequence[str], scores: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Return one row a sub-step: its name, the mean over episodes, how many got 1, 0.5 and 0."""
    rows = []
    for number, name in enumerate(names):
        own = [episode[number] for episode in scores]
        rows.append({'name': name, 'mean': round(sum(own) / len(own), 4),
                     **{f'{value:g}': own.count(value) for value in (1.0, 0.5, 0.0)}})
    return rows

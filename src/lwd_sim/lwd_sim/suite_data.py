# SPDX-License-Identifier: Apache-2.0
"""Offline data for the suite, mixed as the paper's: demonstrations, successful and failed rollouts,
recoveries, aborted attempts and play, made in process.

python -m lwd_sim.suite_data --out data/suite --demonstrations 50 --processes 2

One safetensors file an episode, in the layout that `lwd_learner.episodes.EpisodeArrays.load` reads,
under `<out>/<task>/`, and `<out>/index.json`, written last: one row an episode with its kind,
outcome, sub-step scores and length.
"""
import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np

from lwd_core.instruction import embed
from lwd_sim.episode import Episode, Recorder
from lwd_sim.mistakes import DRIVERS
from lwd_sim.names import CONTROL_RATE
from lwd_sim.scoring import StageScorer
from lwd_sim.suite import SUITE
from lwd_sim.suite_instructions import phrases
from lwd_sim.world import World

# Shares of robot time in the paper's offline buffer (336.6, 88.8, 39.2 and 187.9 of 652.5 hours).
DEMONSTRATED, SUCCEEDED, FAILED, PLAYED = 0.516, 0.136, 0.060, 0.288
FIRST_SEEDS = {'demonstration': 10_000, 'rollout': 20_000, 'recovery': 30_000, 'aborted': 40_000,
               'play': 60_000}          # below the seeds of deployment and evaluation
PATIENCE = 3.0                          # a rollout is called a failure after this many usual times
PLAY_STEPS = (150, 500)


@dataclass(frozen=True)
class Made:
    """An episode and how it came about."""

    kind: str
    episode: Episode

    @property
    def name(self) -> str:
        """Return the episode's id."""
        return f'{self.kind}-{self.episode.task}-{self.episode.seed}'


def make_episode(task: str, kind: str, seed: int, paraphrase: bool = True) -> Made:
    """Return one episode of this kind (a key of mistakes.DRIVERS); equal seeds, equal episodes."""
    if kind not in DRIVERS:
        raise ValueError(f'kind: is {kind!r}, must be one of {", ".join(DRIVERS)}')
    world, rng = World(task), np.random.default_rng([seed, FIRST_SEEDS[kind]])
    world.reset(seed)
    recorder, scorer, success = Recorder(world), StageScorer(world), False
    limit = _limit(kind, world, rng)
    for action, source in DRIVERS[kind](world, rng):
        success = recorder.step(action, source)
        scorer.watch()
        if success or world.steps >= limit:
            break
    own, others, _ = phrases(task)
    texts = (own, *others) if paraphrase else (own,)
    scores = scorer.scores() if world.task.stages else ()
    takeovers = int(kind == 'recovery')
    return Made(kind, recorder.finish(success, takeovers, texts[seed % len(texts)], scores))


def _limit(kind: str, world: World, rng: np.random.Generator) -> int:
    if kind == 'play':
        return int(rng.integers(*PLAY_STEPS))
    if kind == 'aborted':
        return min(world.task.time_limit, world.task.usual_time + 30)
    return min(world.task.time_limit, round(PATIENCE * world.task.usual_time))


def mixture(task: str, demonstrations: int, shares: bool = True) -> Iterator[Made]:
    """Yield `demonstrations` successes and, with `shares`, the rest of the mix by robot time."""
    steps = 0
    for made in _take(task, 'demonstration', demonstrations):
        steps += made.episode.steps
        yield made
    if not shares:
        return
    total = steps / DEMONSTRATED
    yield from _fill(task, ('rollout', 'recovery'), True, SUCCEEDED * total)
    yield from _fill(task, ('rollout', 'aborted'), False, FAILED * total)
    yield from _fill(task, ('play',), False, PLAYED * total)


def _take(task: str, kind: str, count: int) -> Iterator[Made]:
    """Yield `count` successes of a kind; a failed one is replaced by the next seed."""
    seed, found = FIRST_SEEDS[kind], 0
    while found < count:
        if seed >= FIRST_SEEDS[kind] + 2 * count + 20:
            raise RuntimeError(f'task {task!r}: only {found} of {seed - FIRST_SEEDS[kind]} '
                               'demonstrations succeeded')
        made = make_episode(task, kind, seed)
        seed += 1
        if made.episode.success:
            found += 1
            yield made


def _fill(task: str, kinds: Sequence[str], success: bool, steps: float) -> Iterator[Made]:
    """Yield episodes of these kinds in turn, with this outcome, for about `steps` control steps."""
    # Failed rollouts begin elsewhere than the successes, so that no episode is made twice.
    seeds = {kind: FIRST_SEEDS[kind] + (0 if success else 5000) for kind in kinds}
    left, turn = steps, 0
    while left > 0.0:
        kind = kinds[turn % len(kinds)]
        if seeds[kind] - FIRST_SEEDS[kind] >= 9_999:
            raise RuntimeError(f'task {task!r}: {kind} hardly ever ends with success={success}')
        made = make_episode(task, kind, seeds[kind])
        seeds[kind] += 1
        turn += 1
        if made.episode.success == success:
            left -= made.episode.steps
            yield made


# -- files ------------------------------------------------------------------------------------


def save(made: Made, folder: Path, instruction_dim: int = 64) -> dict[str, Any]:
    """Write one episode atomically; return its row of the index."""
    from safetensors.numpy import save_file

    episode = made.episode
    gaps = np.zeros(episode.steps, np.bool_)
    scalars = {'episode_id': made.name, 'digest': '', 'task': episode.task,
               'success': bool(episode.success), 'terminal': True, 'origin': 'offline',
               'recorded_ns': 0, 'robot_digest': ''}
    tensors = {'inputs.joints': episode.joints, 'inputs.state': episode.state,
               'instruction': embed(episode.instruction, instruction_dim),
               'actions': episode.actions, 'source': episode.source, 'gaps': gaps}
    path = folder / episode.task / f'{made.name}.safetensors'
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + '.tmp')
    save_file(tensors, temporary, metadata={'episode': json.dumps(scalars)})
    os.replace(temporary, path)
    return {'file': str(path.relative_to(folder)), 'task': episode.task, 'kind': made.kind,
            'seed': episode.seed, 'success': bool(episode.success), 'steps': episode.steps,
            'scores': list(episode.scores), 'instruction': episode.instruction}


def write_task(task: str, folder: Path, demonstrations: int, shares: bool) -> list[dict[str, Any]]:
    """Make and write one task's mixture; return its rows of the index."""
    return [save(made, folder) for made in mixture(task, demonstrations, shares)]


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Return minutes of robot time and episodes by kind and outcome."""
    lines = []
    for key in dict.fromkeys((row['kind'], row['success']) for row in rows):
        own = [row for row in rows if (row['kind'], row['success']) == key]
        minutes = sum(row['steps'] for row in own) / CONTROL_RATE / 60
        lines.append(f'{key[0]:13s} {"success" if key[1] else "failure"}  {len(own):5d} episodes  '
                     f'{minutes:7.1f} min')
    return '\n'.join(lines)


def main() -> None:
    """Write the data of the chosen tasks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--tasks', default='', help='comma separated; all of the suite if empty')
    parser.add_argument('--demonstrations', type=int, default=50, help='of each task')
    parser.add_argument('--only-demonstrations', action='store_true')
    parser.add_argument('--processes', type=int, default=1)
    args = parser.parse_args()
    tasks = args.tasks.split(',') if args.tasks else list(SUITE)
    unknown = [task for task in tasks if task not in SUITE]
    if unknown:
        parser.error(f'--tasks: {unknown[0]!r} is unknown; the suite has {", ".join(SUITE)}')
    if args.demonstrations < 1:
        parser.error(f'--demonstrations: is {args.demonstrations}, must be at least 1')
    args.out.mkdir(parents=True, exist_ok=True)
    work = partial(write_task, folder=args.out, demonstrations=args.demonstrations,
                   shares=not args.only_demonstrations)
    rows: list[dict[str, Any]] = []
    with multiprocessing.get_context('spawn').Pool(args.processes) as pool:
        for done, found in enumerate(pool.imap(work, tasks), 1):
            rows += found
            print(f'{done}/{len(tasks)} {found[0]["task"]}: {len(found)} episodes', flush=True)
    index = args.out / 'index.json'
    index.with_name('index.json.tmp').write_text(json.dumps(rows, indent=0))
    os.replace(index.with_name('index.json.tmp'), index)
    print(summary(rows))


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""Can the suite be learned, and are its long tasks clearly harder than the short ones?

Clones one generalist for all eight tasks from the scripted expert's demonstrations, with the
demonstration preset of the learner on the privileged state, and rolls it out from held-out starts.
Value: mean success on the four long tasks; peer: on the four short ones. Default: few updates and
starts. `--full`: the learner's default number of updates, 50 demonstrations, 50 starts a task.
`--data DIR` takes demonstrations that `python -m lwd_sim.suite_data` wrote. `--store DIR` leaves
the clone there as the stable checkpoint: `lwd evaluate stable --suite --store DIR`.
"""
import argparse
import json
from pathlib import Path
import time
from typing import Any

import numpy as np
import torch

from lwd_bringup.paths import config_dir
from lwd_core.flow.acting import ActingPolicy
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore
from lwd_learner.build import fill_buffer, fresh_policy, make_agent
from lwd_learner.config import LearnerConfig
from lwd_learner.convert import from_rollout
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.imitation import fit_imitation
from lwd_learner.publish import Publisher
from lwd_sim.evaluate import batched, evaluation_seeds, rollout
from lwd_sim.suite import LONG, SHORT, SUITE
from lwd_sim.suite_data import mixture
from lwd_sim.suite_report import wilson

TARGET = 0.7      # long tasks at most this share of the short ones' success


def options() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--full', action='store_true')
    parser.add_argument('--data', type=Path)
    parser.add_argument('--store', type=Path, help='publish the clone in this store')
    parser.add_argument('--demonstrations', type=int, help='of each task')
    parser.add_argument('--updates', type=int)
    parser.add_argument('--starts', type=int, help='held-out starts of each task')
    args = parser.parse_args()
    defaults = (50, 6000, 50) if args.full else (12, 800, 8)
    for name, value in zip(('demonstrations', 'updates', 'starts'), defaults):
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def demonstrations(count: int, data: Path | None) -> list[EpisodeArrays]:
    """Return `count` successes of every task, read or made."""
    if data is None:
        return [from_rollout(made.episode, made.name, 'offline')
                for task in SUITE for made in mixture(task, count, shares=False)]
    found = [sorted((data / task).glob('demonstration-*.safetensors'))[:count] for task in SUITE]
    return [EpisodeArrays.load(path) for paths in found for path in paths]


def clone(episodes: list[EpisodeArrays], updates: int) -> ActingPolicy:
    """Return the generalist."""
    config = LearnerConfig.from_yaml(config_dir() / 'learner' / 'demo.yaml').override(
        sft={'steps': updates, 'batch': 128})
    agent = make_agent(config, fresh_policy(config, episodes, 0), 0, {'algorithm': 'bc'})
    fit_imitation(agent, fill_buffer(config, episodes, 'successes'), config.sft, 0,
                  report=lambda done, text: print(f'\r{done:4.0%} {text}', end='', flush=True))
    print()
    return ActingPolicy(agent.acting_policy())


def publish(policy: ActingPolicy, store: Path, updates: int) -> None:
    """Leave the clone as a store's stable checkpoint."""
    robot = RobotSpec.from_yaml(config_dir() / 'robots' / 'sim.yaml')
    ref = Publisher(FolderStore(store), robot).publish(policy.policy, updates, {}, 'sft')
    print(f'published {ref.digest[:12]} in {store}')


def evaluate(policy: ActingPolicy, task: str, starts: int) -> dict[str, Any]:
    """Return success, score and time of one task; print them."""
    results = rollout(batched(policy), [task], evaluation_seeds(starts))
    successes = sum(result.success for result in results)
    low, high = wilson(successes, starts)
    row = {'success': successes / starts, 'score': float(np.mean([r.score for r in results])),
           'steps': float(np.mean([r.steps for r in results]))}
    print(f'{task:15s} {successes:3d}/{starts} [{low:.2f}, {high:.2f}]  score {row["score"]:.2f}  '
          f'{row["steps"] / 25:5.1f} s', flush=True)
    return row


def main() -> None:
    """Make data, clone, evaluate, report."""
    args, began = options(), time.monotonic()
    torch.set_num_threads(2)
    episodes = demonstrations(args.demonstrations, args.data)
    print(f'{len(episodes)} demonstrations, {sum(map(len, episodes))} ticks, '
          f'{time.monotonic() - began:.0f} s')
    policy = clone(episodes, args.updates)
    if args.store is not None:
        publish(policy, args.store, args.updates)
    rows = {task: evaluate(policy, task, args.starts) for task in (*SHORT, *LONG)}
    short, long = (float(np.mean([rows[task]['success'] for task in group]))
                   for group in (SHORT, LONG))
    ratio = long / short if short else None
    print(json.dumps({
        'benchmark': 'suite_cloning', 'value': round(long, 3), 'unit': 'success on long tasks',
        'peer': f'success on short tasks: {short:.3f}',
        'ratio': None if ratio is None else round(ratio, 3), 'target': TARGET,
        'met': bool(ratio is not None and 0.2 < short and ratio <= TARGET),
        'seconds': round(time.monotonic() - began, 1), 'updates': args.updates,
        'demonstrations': args.demonstrations, 'starts': args.starts, 'tasks': rows}))


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""How well and how fast the scripted expert does the tasks of the suite, from clean starts.

python -m lwd_sim.suite_report --starts 40
"""
import argparse
import json
from pathlib import Path
import time
from typing import Any

import numpy as np

from lwd_sim.expert import Expert
from lwd_sim.names import CONTROL_RATE, HOME
from lwd_sim.scoring import StageScorer
from lwd_sim.suite import SUITE
from lwd_sim.world import World

FIRST_SEED = 50_000      # neither data nor held-out starts
Z = 1.96                 # 95 %


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the Wilson 95 % interval of a success rate (Wilson 1927)."""
    rate, square = successes / trials, Z * Z / trials
    centre = (rate + square / 2) / (1 + square)
    half = Z / (1 + square) * np.sqrt(rate * (1 - rate) / trials + square / (4 * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def measure(task: str, starts: int, first: int = FIRST_SEED) -> dict[str, Any]:
    """Return success with its interval, score, s of robot time and control steps per CPU s."""
    world, expert = World(task), Expert(task)
    scorer, successes, scores, steps, failed = StageScorer(world), 0, [], [], []
    began = time.process_time()
    for seed in range(first, first + starts):
        world.reset(seed)
        scorer.reset()
        success = False
        while not success and world.steps < world.task.time_limit:
            success = world.step(expert.act(world))
            if world.task.stages:
                scorer.watch()
        successes += success
        steps.append(world.steps)
        scores.append(np.mean(scorer.scores()) if world.task.stages else float(success))
        failed += [] if success else [seed]
    spent = time.process_time() - began
    return {'task': task, 'n': starts, 'successes': successes,
            'interval': wilson(successes, starts), 'score': float(np.mean(scores)),
            'seconds': float(np.mean(steps)) / CONTROL_RATE,
            'longest': max(steps) / CONTROL_RATE, 'steps': float(np.mean(steps)),
            'steps_per_cpu_second': sum(steps) / spent, 'failed_seeds': failed}


def idle_speed(task: str, steps: int = 500) -> float:
    """Return control steps a CPU second of the scene with the arms at rest."""
    world = World(task)
    began = time.process_time()
    for _ in range(steps):
        world.step(HOME)
    return steps / (time.process_time() - began)


def main() -> None:
    """Print one line a task; with --out write them as JSON too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--starts', type=int, default=40)
    parser.add_argument('--tasks', default='', help='comma separated; all of the suite if empty')
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    rows = []
    for task in args.tasks.split(',') if args.tasks else SUITE:
        row = {**measure(task, args.starts), 'idle_steps_per_cpu_second': idle_speed(task)}
        rows.append(row)
        low, high = row['interval']
        print(f'{task:15s} {row["successes"]:3d}/{row["n"]} [{low:.2f}, {high:.2f}]  '
              f'score {row["score"]:.3f}  {row["seconds"]:5.1f} s (longest {row["longest"]:.1f})  '
              f'{row["steps_per_cpu_second"]:5.0f} steps/s with the expert, '
              f'{row["idle_steps_per_cpu_second"]:5.0f} at rest  {row["failed_seeds"]}', flush=True)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1))


if __name__ == '__main__':
    main()

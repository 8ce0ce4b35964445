# SPDX-License-Identifier: Apache-2.0
"""What does the latency of inference cost, by the way in which chunks follow each other?

Clones a policy for `place` from demonstrations (state observation; kept under data/bench) and plays
it in the in-process simulator with chunks that arrive 0 to 400 ms late, on the same held-out
starts, by every scheduler. Claim: real-time chunking keeps 95 % of its success without latency at
200 ms. Peer: `switch`, the same chunks without blending or guidance. Writes
results/bench/chunk_seams.json and .png; last line: one JSON object.

synchronous     plans when the chunk is executed and stands still until the next one is there
switch          plans while executing, jumps to the next chunk when it is there
linear, exponential   the same, fading from the old chunk to the new
rtc             real-time chunking, guided;  rtc_trained: by a policy trained for a given prefix
"""

from __future__ import annotations

import argparse
import json
from math import ceil, sqrt
import os
from pathlib import Path
import sys
import time
from typing import Any

from _seams.picture import draw
from _seams.play import LateRun, summarize
from _seams.policy import cloned, HORIZON, MAX_DELAY, Recipe, TASK
import torch

from lwd_core.chunks.config import Chunking
from lwd_core.robot import RobotSpec
from lwd_sim.evaluate import batched, evaluation_seeds, run_lockstep

ROOT = Path(__file__).resolve().parents[1]
LATENCIES_MS = (0, 100, 200, 300, 400)
EXECUTE_STEPS = 8
BLEND_STEPS = 6
SCHEDULERS = ('synchronous', 'switch', 'linear', 'exponential', 'rtc', 'rtc_trained')
CLAIM, PEER, AT_MS, TARGET = 'rtc', 'switch', 200, 0.95


def chunking(name: str, delay: int) -> Chunking:
    """Return the settings of a scheduler at a delay [ticks], as a user would choose them."""
    ahead = min(delay, EXECUTE_STEPS - 1)
    if name == 'synchronous':
        return Chunking('synchronous', EXECUTE_STEPS, 0)
    if name == 'switch':
        return Chunking('synchronous', EXECUTE_STEPS, ahead, overrun=True)
    if name in ('linear', 'exponential'):
        return Chunking('overlapped', EXECUTE_STEPS, ahead, True, name, BLEND_STEPS)
    return Chunking(name, EXECUTE_STEPS, ahead, overrun=True)


def say(text: str) -> None:
    """Show progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def interval(success: float, count: int) -> float:
    """Return one standard error of a rate."""
    return sqrt(max(success * (1 - success), 1 / count / 4) / count)


def measure(policies: dict[str, Any], rate: float, episodes: int,
            latencies: tuple[int, ...]) -> dict[str, dict[int, dict[str, Any]]]:
    """Return table[scheduler][latency ms]."""
    table: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in SCHEDULERS}
    for name in SCHEDULERS:
        policy = batched(policies['trained' if name == 'rtc_trained' else 'plain'])
        for latency in latencies:
            delay = ceil(latency / 1e3 * rate)
            runs = [LateRun(TASK, seed, chunking(name, delay), delay, rate)
                    for seed in evaluation_seeds(episodes)]
            run_lockstep(policy, runs)
            row = summarize([run.figures() for run in runs])
            table[name][latency] = row
            say(f'{name:12} {latency:4} ms: success {row["success"]:.2f} '
                f'± {interval(row["success"], episodes):.2f}, seam p50 {row["seam_p50_rad"]:.3f} '
                f'p99 {row["seam_p99_rad"]:.3f} rad, acceleration {row["acceleration_p50"]:.0f} '
                f'rad/s², starved {row["starved_per_episode"]:.1f}')
    return table


def main() -> None:
    """Measure, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--full', action='store_true', help='200 episodes instead of 40')
    parser.add_argument('--episodes', type=int, default=0, help='held-out starts of each cell')
    parser.add_argument('--steps', type=int, default=Recipe.steps, help='updates of the cloning')
    parser.add_argument('--latencies', type=int, nargs='+', default=LATENCIES_MS, metavar='MS')
    options = parser.parse_args()
    started = time.perf_counter()
    episodes = options.episodes or (200 if options.full else 40)
    latencies = tuple(sorted({0, AT_MS, *options.latencies}))
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    robot = RobotSpec.from_yaml(ROOT / 'config' / 'robots' / 'sim.yaml')
    recipe = Recipe(steps=options.steps)
    policies = {name: cloned(ROOT / 'data' / 'bench' / 'seams', robot, recipe, longest, say)
                for name, longest in (('plain', 0), ('trained', MAX_DELAY))}
    table = measure(policies, robot.control_rate, episodes, latencies)
    ratios = {name: table[name][AT_MS]['success'] / max(table[name][0]['success'], 1e-9)
              for name in SCHEDULERS}
    spread = interval(table[CLAIM][AT_MS]['success'], episodes)
    results = ROOT / 'results' / 'bench'
    results.mkdir(parents=True, exist_ok=True)
    title = (f'{TASK}, {episodes} starts a point, chunks of {HORIZON} ticks at '
             f'{robot.control_rate:g} Hz, a new one every {EXECUTE_STEPS}')
    draw(table, results / 'chunk_seams.png', title)
    report = {'title': title, 'recipe': vars(recipe), 'kept_at_200_ms': ratios, 'table': table}
    partial = results / 'chunk_seams.json.partial'
    partial.write_text(json.dumps(report, indent=1))
    partial.replace(results / 'chunk_seams.json')
    print(f'success kept at {AT_MS} ms: ' + ', '.join(f'{n} {r:.2f}' for n, r in ratios.items()))
    print(json.dumps({
        'benchmark': 'chunk_seams', 'value': round(ratios[CLAIM], 3),
        'unit': f'success at {AT_MS} ms over success at 0 ms', 'spread': round(spread, 3),
        'peer': PEER, 'peer_value': round(ratios[PEER], 3),
        'ratio': round(ratios[CLAIM] / max(ratios[PEER], 1e-9), 3), 'target': TARGET,
        'met': bool(ratios[CLAIM] >= TARGET), 'episodes': episodes,
        'seconds': round(time.perf_counter() - started, 1)}))


if __name__ == '__main__':
    main()

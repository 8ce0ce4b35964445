# SPDX-License-Identifier: Apache-2.0
"""What does the latency of inference cost, by the way in which chunks follow each other?

An arm carries its hand past three slender posts, each on either side (_seams/posts.py, MuJoCo). A
policy is cloned from demonstrations that took both (kept under data/bench), and played with chunks
that arrive 0 to 400 ms late, on the same held-out starts, by every scheduler. Who executes a bit of
one plan and a bit of another runs into a post; who stands while it thinks is out of time. Claim:
real-time chunking keeps 95 % of its success without latency at 200 ms. Peer: `switch`, the same
chunks without blending or guidance. `--task place` plays the simulated cell's, which has one plan
and bears any scheduler. Writes results/bench/chunk_seams.json and .png; last line: one JSON object.

synchronous     plans when the chunk is executed and stands still until the next one is there
switch          plans while executing, jumps to the next chunk when it is there
linear, exponential   the same, fading from the old chunk to the new
rtc             real-time chunking, guided;  rtc_trained: by a policy trained for a given prefix
"""

from __future__ import annotations

import argparse
from dataclasses import replace
import json
from math import ceil, sqrt
import os
from pathlib import Path
import sys
import time
from typing import Any

from _seams.picture import draw
from _seams.place import task as place
from _seams.play import LateRun, play, summarize
from _seams.policy import cloned, HORIZON, MAX_DELAY
from _seams.posts import task as posts
from _seams.tasks import Task
import torch

from lwd_core.chunks.config import Chunking
from lwd_sim.evaluate import batched, evaluation_seeds

ROOT = Path(__file__).resolve().parents[1]
TASKS = {'posts': posts, 'place': place}
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


def measure(task: Task, policies: dict[str, Any], episodes: int,
            latencies: tuple[int, ...]) -> dict[str, dict[int, dict[str, Any]]]:
    """Return table[scheduler][latency ms]."""
    table: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in SCHEDULERS}
    rate = task.robot.control_rate
    for name in SCHEDULERS:
        policy = batched(policies['trained' if name == 'rtc_trained' else 'plain'])
        for latency in latencies:
            delay = ceil(latency / 1e3 * rate)
            row = summarize(play(policy, [
                LateRun(task.world(seed), seed, chunking(name, delay), delay, rate)
                for seed in evaluation_seeds(episodes)]))
            table[name][latency] = row
            say(f'{name:12} {latency:4} ms: success {row["success"]:.2f} '
                f'± {interval(row["success"], episodes):.2f}, seam p50 {row["seam_p50_rad"]:.3f} '
                f'p99 {row["seam_p99_rad"]:.3f} rad, acceleration {row["acceleration_p50"]:.0f} '
                f'rad/s², starved {row["starved_per_episode"]:.1f}')
    return table


def main() -> None:
    """Measure, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--full', action='store_true', help='500 episodes instead of 100')
    parser.add_argument('--task', choices=TASKS, default='posts')
    parser.add_argument('--episodes', type=int, default=0, help='held-out starts of each cell')
    parser.add_argument('--steps', type=int, default=0, help='updates of the cloning')
    parser.add_argument('--latencies', type=int, nargs='+', default=LATENCIES_MS, metavar='MS')
    options = parser.parse_args()
    started = time.perf_counter()
    episodes = options.episodes or (500 if options.full else 100)
    latencies = tuple(sorted({0, AT_MS, *options.latencies}))
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    task = TASKS[options.task](ROOT)
    task = replace(task, steps=options.steps or task.steps)
    policies = {name: cloned(ROOT / 'data' / 'bench' / 'seams', task, longest, say)
                for name, longest in (('plain', 0), ('trained', MAX_DELAY))}
    table = measure(task, policies, episodes, latencies)
    ratios = {name: table[name][AT_MS]['success'] / max(table[name][0]['success'], 1e-9)
              for name in SCHEDULERS}
    spread = interval(table[CLAIM][AT_MS]['success'], episodes)
    results = ROOT / 'results' / 'bench'
    results.mkdir(parents=True, exist_ok=True)
    title = (f'{task.name}, {episodes} starts a point, chunks of {HORIZON} ticks at '
             f'{task.robot.control_rate:g} Hz, a new one every {EXECUTE_STEPS}')
    draw(table, results / 'chunk_seams.png', title)
    report = {'title': title, 'kept_at_200_ms': ratios, 'table': table}
    partial = results / 'chunk_seams.json.partial'
    partial.write_text(json.dumps(report, indent=1))
    partial.replace(results / 'chunk_seams.json')
    print(f'success kept at {AT_MS} ms: ' + ', '.join(f'{n} {r:.2f}' for n, r in ratios.items()))
    print(json.dumps({
        'benchmark': 'chunk_seams', 'task': task.name, 'value': round(ratios[CLAIM], 3),
        'unit': f'success at {AT_MS} ms over success at 0 ms', 'spread': round(spread, 3),
        'peer': PEER, 'peer_value': round(ratios[PEER], 3),
        'ratio': round(ratios[CLAIM] / max(ratios[PEER], 1e-9), 3), 'target': TARGET,
        'kept': {name: round(found, 3) for name, found in ratios.items()},
        'met': bool(ratios[CLAIM] >= TARGET), 'episodes': episodes,
        'seconds': round(time.perf_counter() - started, 1)}))


if __name__ == '__main__':
    main()

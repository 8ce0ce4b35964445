# SPDX-License-Identifier: Apache-2.0
"""Does loading a new policy disturb the one that acts, and does it cost memory?

Starts the real policy node, its worker in its own process, sensors at the control rate and busy
processes beside it. Every other episode a checkpoint is announced, verified and warmed while the
old one acts, and swapped in when the episode ends; the episodes between are as long and without, so
that both see the same machine. Counts late and starved ticks of both, and which of the late ones
had no row when they came but waited for a chunk, as the first tick of an episode does; takes the
times, and looks at the memory of node and worker. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import random
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

from _policy.checkpoints import KINDS, Learner, robot_at
from _policy.rig import PolicyProcess, Rig, spinning, wait
import numpy as np

from lwd_msgs.msg import EpisodeState, PolicyStatus

WARM_RELOADS = 10  # before memory is looked at: allocators settle
FEWEST = 20  # reloads that say something
WAITED = re.compile(r'cadence of episode_(\d+): .* late \((\d+) waited')
LATEST_S = 0.3  # of an episode, at which a checkpoint is announced


def begin(rig: Rig, episode: int) -> None:
    """Start an episode with the policy driving."""
    rig.phase(EpisodeState.READY, f'episode_{episode}')
    rig.phase(EpisodeState.RUNNING, f'episode_{episode}')
    time.sleep(2 * rig.robot.period_ns / 1e9)
    rig.drive(True)
    wait(lambda: rig.status.state == PolicyStatus.ACTING, 'ACTING')


def end(rig: Rig) -> None:
    """End the episode."""
    rig.drive(False)
    rig.phase(EpisodeState.IDLE)


def reload(rig: Rig, ref: Any, episode: int) -> tuple[float, float]:
    """Announce amid an episode; return seconds until warm, and from the end until it acts."""
    begin(rig, episode)
    time.sleep(random.uniform(0.0, LATEST_S))
    announced = time.monotonic()
    rig.announce(ref)
    wait(lambda: ref.digest in (rig.status.pending_checkpoint, rig.status.rejected_checkpoint),
         'the checkpoint')
    if rig.status.rejected_checkpoint == ref.digest:
        sys.exit(f'refused: {rig.status.rejected_reason}')
    warm = rig.status_at - announced
    time.sleep(0.1)
    end(rig)
    ended = time.monotonic()
    wait(lambda: rig.status.checkpoint == ref.digest, 'the swap')
    return warm, rig.status_at - ended


def without(rig: Rig, seconds: float, episode: int) -> None:
    """Run an episode of this length in which nothing is loaded."""
    begin(rig, episode)
    time.sleep(seconds)
    end(rig)


def counts(rig: Rig) -> np.ndarray:
    """Return (ticks, late, starved) so far; between episodes, when a status has said them."""
    wait(lambda: rig.status.state == PolicyStatus.READY, 'the end of the episode')
    return np.array([rig.status.ticks, rig.status.late_ticks, rig.status.starved_ticks])


def reload_again_and_again(rig: Rig, learner: Learner, policy: PolicyProcess, count: int,
                           seconds: float) -> dict[str, Any]:
    """Return the ticks alone and during, times to warm and swap [N], memory, of `count` reloads.

    Ends earlier, but not before FEWEST, after `seconds`.
    """
    begun, times, memory = time.monotonic(), [], []
    ticks = np.zeros((2, 3), int)  # without a reload and with one: ticks, late, starved
    last = counts(rig)
    for number in range(1, count + 1):
        ref, started = learner.publish(), time.monotonic()
        times.append(reload(rig, ref, 2 * number))
        length = time.monotonic() - started
        ticks[1] += (now := counts(rig)) - last
        without(rig, length, 2 * number + 1)
        ticks[0] += (last := counts(rig)) - now
        memory.append(policy.memory())
        taken = time.monotonic() - begun
        if number % 10 == 0:
            print(f'{number} reloads in {taken:.0f} s: {ticks[1][1]} late ticks, '
                  f'{ticks[0][1]} without', file=sys.stderr, flush=True)
        if number >= FEWEST and taken > seconds:
            break
    warm, swap = np.array(times).T
    return {'alone': ticks[0], 'during': ticks[1], 'warm': warm, 'swap': swap, 'memory': memory}


def waited(log: str) -> np.ndarray:
    """Return how many late ticks waited for a chunk, [without a reload, with one], by the log."""
    found = np.zeros(2, int)
    for episode, count in WAITED.findall(log):
        found[1 - int(episode) % 2] += int(count)  # every other episode, from the second
    return found


def growth(memory: list[dict[str, float]]) -> dict[str, float]:
    """Return by how much node and worker grow [MiB per 100 reloads], once they have settled."""
    settled = memory[min(WARM_RELOADS, len(memory) // 2):]
    if len(settled) < 3:
        return {}
    return {part: float(np.polyfit(np.arange(len(settled)), [row[part] for row in settled], 1)[0]
                        * 100) for part in settled[0]}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Act and reload; return ticks, times and memory."""
    robot = robot_at(options.rate)
    with tempfile.TemporaryDirectory() as name, spinning(robot) as rig:
        folder = Path(name)
        learner = Learner(folder / 'store', options.kind, robot)
        first = learner.publish()
        policy = PolicyProcess(folder, robot, backend=options.backend, lookahead=4)
        burners = []
        try:
            wait(lambda: rig.status_at > 0, 'the policy node')
            rig.announce(first)
            wait(lambda: rig.status.checkpoint == first.digest, 'the first checkpoint')
            burners = [subprocess.Popen([sys.executable, '-c', 'while True: pass'])
                       for _ in range(options.load)]
            found = reload_again_and_again(
                rig, learner, policy, options.reloads, options.seconds)
        finally:
            for burner in burners:
                burner.kill()
            policy.close()
        log = policy.log_path.read_text(errors='replace')
    return {**found, 'backend': rig.status.backend, 'waited': waited(log)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--reloads', type=int, default=100, help='at most so many')
    parser.add_argument('--seconds', type=float, default=120.0,
                        help=f'end after this time, but not before {FEWEST} reloads')
    parser.add_argument('--rate', type=float, default=50.0, help='control rate [Hz]')
    parser.add_argument('--kind', choices=KINDS, default='small')
    parser.add_argument('--backend', default='auto')
    parser.add_argument('--load', type=int, default=1, help='busy processes beside')
    parser.add_argument('--full', action='store_true',
                        help='all the reloads, however long they take')
    options = parser.parse_args()
    if options.full:
        options.seconds = float('inf')
    started = time.monotonic()
    found = measure(options)
    alone, during, warm, swap = (found[name] for name in ('alone', 'during', 'warm', 'swap'))
    grown, memory = growth(found['memory']), found['memory']
    print(f'{len(warm)} reloads of the {options.kind} policy ({found["backend"]}) at '
          f'{options.rate:g} Hz beside {options.load} busy processes')
    for what, row, late in zip(('without reloads', 'with reloads'), (alone, during),
                               found['waited']):
        print(f'  {what:<16}{row[0]:>7} ticks, {row[1]} late, {late} of them waited for a chunk; '
              f'{row[2]} starved')
    print(f'  announced to warm: p50 {np.median(warm):.2f} s, max {warm.max():.2f} s; '
          f'end of episode to active: p50 {1e3 * np.median(swap):.0f} ms, '
          f'max {1e3 * swap.max():.0f} ms')
    print('  memory: ' + ', '.join(
        f'{part} {memory[0][part]:.0f} -> {memory[-1][part]:.0f} MiB '
        f'({value:+.1f} MiB per 100 reloads)' for part, value in grown.items()))
    late_share = [row[1] / max(1, row[0]) for row in (alone, during)]
    print(json.dumps({
        'benchmark': 'hot_reload', 'value': int(during[1]), 'unit': 'late ticks',
        'peer': 'the same node without reloads', 'peer_value': int(alone[1]),
        'ratio': late_share[1] / late_share[0] if late_share[0] else None, 'target': 0,
        'met': bool(during[1] == 0), 'seconds': round(time.monotonic() - started, 1),
        'late_that_waited_for_a_chunk': int(found['waited'][1]),
        'reloads': len(warm), 'ticks': int(during[0]), 'starved': int(during[2]),
        'announced_to_active_s': round(float(np.median(warm + swap)), 3),
        'spread': [round(float(warm.min()), 3), round(float(warm.max()), 3)],
        'memory_growth_mib_per_100': grown, 'load_average': os.getloadavg()[0]}))


if __name__ == '__main__':
    main()

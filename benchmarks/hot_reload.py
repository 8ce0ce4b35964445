# SPDX-License-Identifier: Apache-2.0
"""Does loading a new policy disturb the one that acts, and does it cost memory?

Starts the real policy node, its worker in its own process, sensors at the control rate and busy
processes beside it. Each reload is announced amid an episode, verified, warmed, and swapped in when
the episode ends. Counts late and starved ticks with and without reloads, takes the times, and looks
at the memory of node and worker. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time

from _policy.checkpoints import KINDS, publish, robot_at
from _policy.rig import PolicyProcess, Rig, spinning, wait
import numpy as np

from lwd_core.store import FolderStore
from lwd_msgs.msg import EpisodeState, PolicyStatus

WARM_RELOADS = 10  # before memory is looked at: allocators settle


def settle(rig: Rig, ticks: int) -> None:
    """Let the policy act for some ticks."""
    first = rig.status.ticks
    wait(lambda: rig.status.ticks >= first + ticks, f'{ticks} ticks')


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


def reload(rig: Rig, ref: object, episode: int) -> tuple[float, float]:
    """Announce amid an episode; return seconds until warm, and from the end until it acts."""
    begin(rig, episode)
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


def counts(rig: Rig) -> np.ndarray:
    """Return (ticks, late, starved) so far, once the status says them."""
    seen = rig.status_at
    wait(lambda: rig.status_at > seen, 'a status')
    return np.array([rig.status.ticks, rig.status.late_ticks, rig.status.starved_ticks])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--reloads', type=int, default=100)
    parser.add_argument('--rate', type=float, default=50.0, help='control rate [Hz]')
    parser.add_argument('--kind', choices=KINDS, default='small')
    parser.add_argument('--backend', default='auto')
    parser.add_argument('--load', type=int, default=1, help='busy processes beside')
    parser.add_argument('--full', action='store_true', help='1,000 reloads')
    options = parser.parse_args()
    reloads, started = (1000 if options.full else options.reloads), time.monotonic()
    robot = robot_at(options.rate)
    with tempfile.TemporaryDirectory() as name, spinning(robot) as rig:
        folder = Path(name)
        store = FolderStore(folder / 'store')
        policy = PolicyProcess(folder, robot, backend=options.backend, lookahead=4)
        burners = []
        try:
            first = publish(store, options.kind, robot, 1)
            wait(lambda: rig.status_at > 0, 'the policy node')
            rig.announce(first)
            wait(lambda: rig.status.checkpoint == first.digest, 'the first checkpoint')
            burners = [subprocess.Popen([sys.executable, '-c', 'while True: pass'])
                       for _ in range(options.load)]
            # The same acting without reloads: what the machine itself makes late.
            before = counts(rig)
            begin(rig, 0)
            settle(rig, round(10 * options.rate))
            end(rig)
            alone = counts(rig) - before
            before, times, memory = counts(rig), [], []
            for number in range(reloads):
                times.append(reload(rig, publish(store, options.kind, robot, number + 2),
                                    number + 1))
                memory.append(policy.memory())
                if sys.stderr.isatty():
                    print(f'\r{number + 1} of {reloads}', end='', file=sys.stderr)
            during = counts(rig) - before
        finally:
            for burner in burners:
                burner.kill()
            policy.close()
    warm, swap = np.array(times).T
    settled = memory[min(WARM_RELOADS, len(memory) // 2):]
    steps = np.arange(len(settled))
    growth = {part: float(np.polyfit(steps, [row[part] for row in settled], 1)[0] * 100)
              for part in ('node', 'worker')} if len(settled) > 2 else {}
    total = float(np.median(warm + swap))
    print(f'{reloads} reloads of the {options.kind} policy at {options.rate:g} Hz beside '
          f'{options.load} busy processes')
    for what, row in (('without reloads', alone), ('with reloads', during)):
        print(f'  {what:<16}{row[0]:>7} ticks, {row[1]} late, {row[2]} starved')
    print(f'  announced to warm: p50 {np.median(warm):.2f} s, max {warm.max():.2f} s; '
          f'end of episode to active: p50 {1e3 * np.median(swap):.0f} ms')
    print('  memory: ' + ', '.join(
        f'{part} {settled[0][part]:.0f} -> {settled[-1][part]:.0f} MiB '
        f'({value:+.1f} MiB per 100 reloads)' for part, value in growth.items()))
    late_share = [row[1] / max(1, row[0]) for row in (alone, during)]
    print(json.dumps({
        'benchmark': 'hot_reload', 'value': int(during[1]), 'unit': 'late ticks',
        'peer': 'the same node without reloads', 'ratio': late_share[1] / late_share[0]
        if late_share[0] else None, 'target': 0, 'met': bool(during[1] == 0),
        'seconds': time.monotonic() - started, 'reloads': reloads, 'ticks': int(during[0]),
        'starved': int(during[2]), 'late_without_reloads': int(alone[1]),
        'announced_to_active_s': total, 'warm_max_s': float(warm.max()),
        'memory_growth_mib_per_100': growth, 'load_average': os.getloadavg()[0]}))


if __name__ == '__main__':
    main()

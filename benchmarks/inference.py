# SPDX-License-Identifier: Apache-2.0
"""How long does a chunk take by each backend, and what does the node add?

Each backend computes the small policy's and the 5M transformer's chunk on one thread, in turn, so
that all see the same machine; eager PyTorch's bare forward pass is the peer. Then the real policy
node acts over DDS: what it adds to the forward pass, and how old the observation is when an action
built on it is published. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import tempfile
import time
from typing import Any

from _policy.checkpoints import KINDS, make, publish, robot_at
from _policy.rig import PolicyProcess, spinning, wait
import numpy as np
import torch

from lwd_core.chunks.continuation import Continuation
from lwd_core.flow.acting import ActingPolicy
from lwd_core.store import FolderStore
from lwd_msgs.msg import EpisodeState, PolicyStatus
from lwd_policy_node.backends import BACKENDS
from lwd_policy_node.backends.choice import BUILDERS
from lwd_policy_node.backends.engine import BackendError, difference

TARGET_MS = 2.0  # that the node may add


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return p50 and p99 [ms]."""
    p50, p99 = np.percentile(seconds, (50, 99)) * 1e3
    return {'p50_ms': float(p50), 'p99_ms': float(p99)}


def measure_backends(kind: str, runs: int, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return p50, p99, the difference from eager, or why there is none, by backend."""
    policy, _ = make(kind, robot_at(50.0))
    sampler = ActingPolicy(policy).sampler()
    engines, rows = {}, dict[str, dict[str, Any]]()
    for name in names:
        started = time.perf_counter()
        try:
            engines[name] = BUILDERS[name](sampler, 1)
            rows[name] = {'build_s': time.perf_counter() - started,
                          'difference': difference(engines[name], engines['eager'], sampler)}
        except BackendError as error:
            rows[name] = {'missing': str(error)}
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for run in range(runs + 5):
        arrays = sampler.example(run)
        for name, engine in engines.items():  # in turn: the machine's moods hit all alike
            started = time.perf_counter()
            engine.run(arrays)
            if run >= 5:
                taken[name].append(time.perf_counter() - started)
    for name, seconds in taken.items():
        rows[name].update(percentiles(seconds))
    return rows


def bare_forward(kind: str, runs: int) -> list[float]:
    """Return the seconds of encode and sample alone, without node, worker or wrapper."""
    policy, _ = make(kind, robot_at(50.0))
    arrays = ActingPolicy(policy).sampler().example()
    batch = {name: torch.from_numpy(value) for name, value in arrays.items()}
    noise, taken = batch.pop('noise'), []
    with torch.no_grad():
        for _ in range(runs + 5):
            started = time.perf_counter()
            policy.sample(policy.encode(batch), noise)
            taken.append(time.perf_counter() - started)
    return taken[5:]


def guided(kind: str, runs: int) -> list[float]:
    """Return the seconds of a chunk that continues another one (scheduler rtc): always eager."""
    policy, _ = make(kind, robot_at(50.0))
    acting, taken = ActingPolicy(policy.eval().requires_grad_(False)), []
    arrays = acting.sampler().example()
    batch = {name: torch.from_numpy(value) for name, value in arrays.items() if name != 'noise'}
    running = Continuation(acting.act_batch(batch, [0])[0][8:], 3)
    for run in range(runs + 5):
        started = time.perf_counter()
        acting.act_batch(batch, [run], [running])
        taken.append(time.perf_counter() - started)
    return taken[5:]


def measure_node(kind: str, seconds: float) -> dict[str, Any]:
    """Return what the node adds [ms] and the observation's age at action [ms]."""
    robot = robot_at(50.0)
    with tempfile.TemporaryDirectory() as name, spinning(robot) as rig:
        folder = Path(name)
        ref = publish(FolderStore(folder / 'store'), kind, robot, 1)
        policy = PolicyProcess(folder, robot, backend='eager', lookahead=2)
        try:
            wait(lambda: rig.status_at > 0, 'the policy node')
            rig.announce(ref)
            wait(lambda: rig.status.checkpoint == ref.digest, 'the checkpoint')
            rig.phase(EpisodeState.RUNNING)
            time.sleep(0.1)
            rig.drive(True)
            wait(lambda: rig.status.state == PolicyStatus.ACTING and rig.commands, 'ACTING')
            time.sleep(seconds)
        finally:
            policy.close()
        chunks = list(rig.chunks.values())
        ages, first = rig.ages(), {}
        for (_, chunk, _), age in zip(rig.commands, ages):
            first.setdefault(chunk, age)
        added = [chunk.latency - chunk.inference_time for chunk in chunks]
        return {'chunks': len(chunks), 'added': percentiles(added),
                'latency': percentiles([chunk.latency for chunk in chunks]),
                'inference': percentiles([chunk.inference_time for chunk in chunks]),
                'age_at_action': percentiles(ages),
                'age_at_first_action': percentiles(list(first.values()))}


def show(kind: str, rows: dict[str, dict[str, Any]], peer: float) -> None:
    """Print a table."""
    print(f'{kind}: one thread, 10 flow steps; bare forward pass p50 {peer:.2f} ms')
    print(f'  {"backend":<12}{"p50 ms":>9}{"p99 ms":>9}{"x eager":>9}{"differs":>10}{"built s":>9}')
    for name, row in rows.items():
        if 'missing' in row:
            print(f'  {name:<12} - {row["missing"]}')
            continue
        ratio = rows['eager']['p50_ms'] / row['p50_ms']
        print(f'  {name:<12}{row["p50_ms"]:>9.2f}{row["p99_ms"]:>9.2f}{ratio:>9.2f}'
              f'{row["difference"]:>10.1e}{row["build_s"]:>9.1f}')


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--runs', type=int, default=200)
    parser.add_argument('--seconds', type=float, default=20.0, help='acting over DDS')
    parser.add_argument('--full', action='store_true',
                        help='2,000 runs, 120 s, and torch.compile, which takes minutes to build')
    options = parser.parse_args()
    started = time.monotonic()
    runs, seconds = (2000, 120.0) if options.full else (options.runs, options.seconds)
    names = [name for name in BACKENDS if options.full or name != 'compile']
    torch.set_num_threads(1)
    table, bare, continuing = {}, {}, {}
    for kind in KINDS:
        bare[kind] = percentiles(bare_forward(kind, runs))
        table[kind] = measure_backends(kind, runs, names)
        show(kind, table[kind], bare[kind]['p50_ms'])
        continuing[kind] = percentiles(guided(kind, max(20, runs // 4)))
        print(f'  guided (rtc, eager) p50 {continuing[kind]["p50_ms"]:.2f} ms, '
              f'{continuing[kind]["p50_ms"] / bare[kind]["p50_ms"]:.1f} x a bare forward pass')
    node = measure_node('small', seconds)
    added = node['latency']['p50_ms'] - node['inference']['p50_ms']
    print(f'node, small policy at 50 Hz, {node["chunks"]} chunks: request to chunk p50 '
          f'{node["latency"]["p50_ms"]:.2f} ms, of it {node["inference"]["p50_ms"]:.2f} ms forward '
          f'pass; added p50 {node["added"]["p50_ms"]:.2f}, p99 {node["added"]["p99_ms"]:.2f} ms '
          f'(target {TARGET_MS:g} ms)')
    print(f'observation age when its action is published: first of a chunk p50 '
          f'{node["age_at_first_action"]["p50_ms"]:.1f} ms, all rows p50 '
          f'{node["age_at_action"]["p50_ms"]:.1f}, p99 {node["age_at_action"]["p99_ms"]:.1f} ms')
    print(json.dumps({
        'benchmark': 'inference', 'value': node['added']['p50_ms'], 'unit': 'ms added by the node',
        'peer': 'bare forward pass, ms', 'peer_value': bare['small']['p50_ms'],
        'ratio': (node['inference']['p50_ms'] + added) / bare['small']['p50_ms'],
        'target': TARGET_MS, 'met': bool(node['added']['p50_ms'] < TARGET_MS),
        'seconds': time.monotonic() - started, 'backends': table, 'node': node,
        'guided': continuing, 'load_average': os.getloadavg()[0]}))


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""How fast is a full learner step, part by part, against the floor of its matrix products?

One step at batch 256: V, Q, EMA, QAM (N = 10). The floor is the fewest operations that the
mathematics needs (6 N evaluations' worth of the flow network: the policy at N states forward and
backward, the reference at N states, and N vector-Jacobian products of it), over the rate at which
this machine multiplies matrices of that size. Peers: QAM's public JAX agent at its own sizes,
measured in the same run on as many cores with `--jax PYTHON SOURCE` (_speed/jax_agent.py says what
they are); without it, its figures of 2 idle cores (see PEER). Last line: one JSON object.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
import json
import os
from pathlib import Path
import subprocess
import time
from typing import Any

import numpy as np
import torch
from torch.nn.functional import linear as torchs_linear
from torch.utils.flop_counter import FlopCounterMode

from lwd_core.flow import make_policy
from lwd_core.flow.linear import available, linear
from lwd_core.normalization import Normalizer
from lwd_learner.algorithms import qam
from lwd_learner.algorithms.agent import Agent
from lwd_learner.algorithms.config import AgentConfig
from lwd_learner.memory import keep_freed

TARGET = 1.5  # times the floor
# ms a full update, batch 256, chunk 5 x 5, jitted, 2 cores: (layers, width, critics) -> ms
PEER = {(2, 256, 2): 34.0, (4, 256, 2): 60.0, (4, 512, 2): 172.0, (4, 512, 10): 348.0}


@dataclass(frozen=True)
class Case:
    """A learner's size."""

    name: str
    policy: dict[str, Any]
    critic: dict[str, Any]
    horizon: int = 16
    dim: int = 14
    state: int = 40
    precision: str = 'float32'
    micro: int = 0  # states at a time: the graph of N steps of a transformer at 256 takes 5 GB


CASES = [
    Case('MLP 3 x 512', {'hidden': 512, 'layers': 3}, {'hidden': 256}),
    Case('transformer, 5M', {'network': 'transformer', 'hidden': 256, 'layers': 4},
         {'hidden': 256}, micro=32),
]


def build(case: Case, batch: int) -> tuple[Agent, dict[str, Any]]:
    """Return an agent and a batch of random transitions."""
    torch.manual_seed(0)
    h, d, s = case.horizon, case.dim, case.state
    policy = make_policy(
        {'horizon': h, 'action_dim': d, 'joint_dim': d, 'state_dim': s, 'instruction_dim': 64,
         **case.policy},
        {'joints': Normalizer.identity(d), 'state': Normalizer.identity(s),
         'action': Normalizer.identity(d)})
    config = AgentConfig.from_dict({
        'critic': {'chunk': 'flat', **case.critic}, 'qam': {'precision': case.precision},
        'actor_micro': case.micro})

    def inputs() -> dict[str, torch.Tensor]:
        return {'joints': torch.randn(batch, d), 'state': torch.randn(batch, s),
                'instruction': torch.randn(batch, 64) / 8}

    return Agent(config, policy), {
        **inputs(), 'next': inputs(), 'action': torch.randn(batch, h, d),
        'mask': torch.ones(batch, h), 'imitate': torch.ones(batch, h),
        'reward': torch.rand(batch), 'discount': torch.full((batch,), 0.99),
        'success': torch.ones(batch), 'source': torch.ones(batch, dtype=torch.uint8)}


def clock(function: Callable[[], Any], repeats: int, seconds: float) -> list[float]:
    """Return the times [s] of up to `repeats` calls after one to warm up.

    On one thread its own CPU time, which others on the machine hardly disturb; else wall time.
    """
    now = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    function()
    times: list[float] = []
    while len(times) < repeats and (len(times) < 3 or sum(times) < seconds):
        began = now()
        function()
        times.append(now() - began)
    return times


def operations(function: Callable[[], Any]) -> float:
    """Return the floating-point operations of matrix products in a call."""
    counted = {}
    if available():  # torch does not count oneDNN's linear itself
        counted[torch.ops.mkldnn._linear_pointwise] = (
            lambda x, weight, *_, **__: 2 * int(np.prod(x)) * weight[0])
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        function()
    return float(counter.get_total_flops())


def matmul_rate(rows: int, width: int, seconds: float) -> float:
    """Return the operations a second of x [rows, width] times a [width, width] matrix: the best.

    Of torch's own product and the learner's, whichever is faster here.
    """
    x, weight = torch.randn(rows, width), torch.randn(width, width)
    best = min(min(clock(lambda: [product(x, weight) for _ in range(10)], 100, seconds / 2))  # noqa: B023
               for product in (torchs_linear, linear))
    return 2.0 * rows * width * width * 10 / best


def floor_operations(agent: Agent, batch: dict[str, Any], count: int) -> float:
    """Return the fewest operations of one QAM step at batch `count`."""
    steps = agent.config.qam.steps
    whole = len(batch['action'])
    count = min(count, 32)  # counted on a few states, and scaled
    batch = {name: x[:count] for name, x in batch.items() if torch.is_tensor(x)}
    prefix = agent.policy.encode(batch).detach()
    x, w = torch.randn_like(batch['action']), torch.rand(count)
    with torch.no_grad():
        velocity = operations(lambda: agent.policy.velocity(prefix, x, w))
        encode = operations(lambda: agent.policy.encode(batch))
        q = agent.td.gradient_target(batch)  # type: ignore[union-attr]
        value = operations(lambda: q(x))
        critic = operations(lambda: agent.target.encode(batch))
    return (6 * steps * velocity + 4 * encode + 2 * value + critic) * whole / count


def parts(agent: Agent, batch: dict[str, Any], repeats: int, seconds: float
          ) -> dict[str, list[float]]:
    """Return the times of the parts of a step, QAM's own parts among them.

    What is done in micro-batches is timed on one and multiplied.
    """
    c, td, whole = agent.config.qam, agent.td, batch
    assert td is not None
    micro = agent.config.actor_micro or len(batch['action'])
    times_over = len(batch['action']) / micro
    batch = {name: x[:micro] for name, x in batch.items() if torch.is_tensor(x)}
    agent.reference.requires_grad_(False)  # as QAM's step has it
    anchor = agent.reference.encode(batch)
    noise = torch.randn_like(batch['action'])

    def reference(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        rows = len(x) // len(anchor)
        return agent.reference.velocity(anchor if rows == 1 else anchor.repeat(rows, 1), x, w)

    cast = qam._cast(reference, c, noise)
    paths = qam.rollout(cast, cast, noise, c.steps)
    terminal = torch.randn_like(noise)
    q = td.gradient_target(batch)
    chunk = agent.reference.normalize_action(whole['action'])
    budget = seconds / 6
    found = {
        'V, Q and EMA': clock(lambda: td.learn(whole, chunk), repeats, budget),
        'QAM': clock(lambda: agent._learn_policy(batch), repeats, budget * 2),
        '- N adjoint steps': clock(lambda: qam.lean_adjoint(cast, paths, terminal), repeats,
                                   budget),
        '- N forward steps': clock(lambda: qam.rollout(cast, cast, noise, c.steps), repeats,
                                   budget),
        '- critic gradient': clock(lambda: qam.terminal_adjoint(q, noise, c), repeats, budget),
    }
    return {name: [t * (1.0 if name[0] == 'V' else times_over) for t in own]
            for name, own in found.items()}


def measure(case: Case, batch_size: int, repeats: int, seconds: float) -> dict[str, Any]:
    """Print one case and return its figures."""
    agent, batch = build(case, batch_size)
    width = int(case.policy['hidden'])
    rows = case.micro or batch_size
    rows *= case.horizon if case.policy.get('network') == 'transformer' else 1
    rate = matmul_rate(rows, width, seconds / 10)
    floor = floor_operations(agent, batch, batch_size) / rate
    times = parts(agent, batch, repeats, seconds)
    if case.micro:
        step = [sum(pair) for pair in zip(times['V, Q and EMA'], times['QAM'])]
    else:
        step = clock(lambda: agent.update(batch), repeats, seconds / 3)
    weights = sum(p.numel() for p in agent.policy.parameters())
    total, tilt = float(np.median(step)), float(np.median(times['QAM']))
    print(f'\n{case.name}: {weights / 1e6:.2f}M weights, batch {batch_size}, '
          f'{torch.get_num_threads()} thread(s), {case.precision}; matmul {rate / 1e9:.0f} GFLOP/s')
    print(f'  full step {total * 1e3:.1f} ms ({1 / total:.2f} updates/s; best '
          f'{min(step) * 1e3:.1f} ms, spread {np.std(step) / total:.0%} of {len(step)})')
    for name, own in times.items():
        print(f'  {name:20} {np.median(own) * 1e3:8.1f} ms  {np.median(own) / total:5.0%}')
    ratio = min(times['QAM']) / floor
    print(f'  QAM step over its floor of {floor * 1e3:.1f} ms: {ratio:.2f} best, '
          f'{tilt / floor:.2f} median; target {TARGET}')
    return {'case': case.name, 'precision': case.precision, 'updates_per_second': 1 / total,
            'step_ms': total * 1e3, 'best_step_ms': min(step) * 1e3, 'qam_ms': tilt * 1e3,
            'floor_ms': floor * 1e3, 'ratio': ratio, 'median_ratio': tilt / floor,
            'matmul_gflops': rate / 1e9,
            'parts_ms': {name: float(np.median(own)) * 1e3 for name, own in times.items()}}


def time_peer(jax: list[str], repeats: int, *sizes: int) -> float:
    """Return the best time [ms] of the JAX agent's update on as many cores, by the clock of ours.

    Raises subprocess.CalledProcessError where it does not run; what it said is on stderr.
    """
    python, source = jax
    cores = torch.get_num_threads()
    script = Path(__file__).parent / '_speed' / 'jax_agent.py'
    arguments = [source, *(str(number) for number in (cores, repeats, *sizes))]
    done = subprocess.run([python, str(script), *arguments], check=True, stdout=subprocess.PIPE,
                          text=True)
    times = json.loads(done.stdout.splitlines()[-1])
    return float(min(times['processor_ms' if cores == 1 else 'wall_ms']))


def peers(repeats: int, seconds: float, full: bool, jax: list[str] | None) -> list[dict[str, Any]]:
    """Time full steps at the sizes of QAM's public agent."""
    found = []
    print(f'\n{torch.get_num_threads()} thread(s): ', end='')
    print("full step at the sizes of QAM's public JAX agent (chunk 5 x 5, batch 256):")
    for (layers, width, critics), theirs in PEER.items():
        if critics > 2 and not full:
            continue
        if jax:
            theirs = time_peer(jax, repeats, layers, width, critics)
        for precision in qam.PRECISIONS:
            case = Case(f'{layers} x {width}, {critics} critics',
                        {'hidden': width, 'layers': layers},
                        {'hidden': width, 'layers': layers, 'ensemble': critics}, 5, 5, 28,
                        precision)
            agent, batch = build(case, 256)
            times = clock(lambda: agent.update(batch), repeats, seconds)  # noqa: B023
            ours = min(times) * 1e3
            print(f'  {case.name:20} {precision:8} {ours:7.1f} ms best, '
                  f'{np.median(times) * 1e3:.1f} median; theirs {theirs:.0f}: '
                  f'{theirs / ours:.2f} times their updates/s', flush=True)
            found.append({'case': case.name, 'precision': precision, 'ms': ours,
                          'median_ms': float(np.median(times)) * 1e3, 'peer_ms': theirs,
                          'times_peer': theirs / ours})
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch', type=int, default=256)
    parser.add_argument('--threads', type=int, default=1, help="ours; the peer's figures: 2 cores")
    parser.add_argument('--full', action='store_true', help='more repeats, bfloat16, all peers')
    parser.add_argument('--jax', nargs=2, metavar=('PYTHON', 'SOURCE'),
                        help="measure QAM's JAX agent too: its Python, its checkout")
    parser.add_argument('--only', choices=('cases', 'peers'), help='half of it')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed()  # as every learner does
    began, load = time.monotonic(), os.getloadavg()[0]
    repeats, seconds = (40, 60.0) if options.full else (15, 12.0)
    cases = list(CASES)
    if options.full:
        cases += [replace(case, precision='bfloat16') for case in CASES]
    if options.only == 'peers':
        peers(repeats, seconds / 3, options.full, options.jax)
        return
    measured = [measure(case, options.batch, repeats, seconds) for case in cases]
    compared = [] if options.only else peers(repeats, seconds / 3, options.full, options.jax)
    main_case = measured[0]
    print(json.dumps({
        'benchmark': 'learner_speed', 'value': main_case['qam_ms'], 'unit': 'ms a QAM step',
        'peer': main_case['floor_ms'], 'ratio': main_case['ratio'], 'target': TARGET,
        'met': max(one['ratio'] for one in measured) <= TARGET and all(
            one['times_peer'] >= 1.5 for one in compared if one['precision'] == 'bfloat16'),
        'seconds': round(time.monotonic() - began, 1), 'load': load,
        'peer_measured_here': bool(options.jax), 'threads': options.threads, 'cases': measured,
        'peers': compared}))


if __name__ == '__main__':
    main()

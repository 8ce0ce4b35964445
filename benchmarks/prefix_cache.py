# SPDX-License-Identifier: Apache-2.0
"""What does it save to encode each observation once?

A policy that sees: three cameras through the frozen trunk to features, features to the prefix,
the prefix to N flow steps. One QAM step at the same states three ways:

- cached: features from replay (computed once at ingest), one prefix for policy, reference, adjoint;
- once a state: features computed in the update, once for each state, one prefix each;
- not cached: trunk and prefix again at every evaluation of a velocity field.

Last line: one JSON object; `ratio` is not cached over cached.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import json
import os
import time
from typing import Any

import numpy as np
import torch

from lwd_bringup.paths import config_dir
from lwd_core.flow import make_policy
from lwd_core.flow.trunk import load_trunk
from lwd_core.normalization import Normalizer
from lwd_learner.algorithms import qam
from lwd_learner.algorithms.agent import Agent

TARGET = 5.0  # the reported actor update of a large VLA went from 5.46 s to 0.60 s: 9 times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--states', type=int, default=16)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--full', action='store_true', help='64 states, 10 repeats')
    options = parser.parse_args()
    states, repeats = (64, 10) if options.full else (options.states, options.repeats)
    torch.set_num_threads(1)
    began, load = time.monotonic(), os.getloadavg()[0]
    trunk = load_trunk(config_dir() / 'trunks' / 'sim.safetensors')
    rng = np.random.default_rng(0)
    joints = rng.normal(0, 0.5, (states, 14)).astype(np.float32)
    images = [{name: rng.integers(0, 255, (96, 96, 3), np.uint8)
               for name in ('head', 'left_wrist', 'right_wrist')} for _ in range(states)]

    def features() -> torch.Tensor:
        return torch.from_numpy(np.stack([np.asarray(trunk.features(one, row), np.float32)
                                          for one, row in zip(images, joints)]))

    replayed = features()
    agent = _agent(replayed.shape[1])
    inputs = {'joints': torch.from_numpy(joints), 'instruction': torch.randn(states, 64) / 8}
    noise = torch.randn(states, 16, 14)

    def loss(observe: Callable[[], torch.Tensor], every_time: bool) -> None:
        batch = {**inputs, 'features': observe()}
        prefix, anchor = agent.policy.encode(batch), agent.reference.encode(batch)

        def field(network: Any, kept: torch.Tensor) -> qam.Field:
            def velocity(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
                own = network.encode({**inputs, 'features': observe()}) if every_time else kept
                return network.velocity(own.repeat(len(x) // states, 1), x, w)
            return velocity

        assert agent.td is not None
        found, _ = qam.qam_loss(
            field(agent.policy, prefix), field(agent.reference, anchor),
            agent.td.gradient_target(batch), noise, agent.config.qam)
        found.backward()

    ways = {'cached': (lambda: replayed, False), 'once a state': (features, False),
            'not cached': (features, True)}
    times = {}
    for name, (observe, every_time) in ways.items():
        own = []
        for _ in range(repeats if name != 'not cached' else max(1, repeats // 3)):
            start = time.thread_time()
            loss(observe, every_time)
            own.append(time.thread_time() - start)
        times[name] = min(own)
        print(f'{name:14} {times[name] * 1e3:9.1f} ms CPU a QAM step at {states} states '
              f'(best of {len(own)}), {times[name] / times["cached"]:.1f} times cached')
    ratio = times['not cached'] / times['cached']
    print(json.dumps({
        'benchmark': 'prefix_cache', 'value': times['cached'] * 1e3, 'unit': 'ms CPU a QAM step',
        'peer': times['not cached'] * 1e3, 'ratio': ratio, 'target': TARGET,
        'met': ratio >= TARGET, 'seconds': round(time.monotonic() - began, 1), 'load': load,
        'once_a_state_ms': times['once a state'] * 1e3, 'states': states}))


def _agent(features: int) -> Agent:
    policy = make_policy(
        {'horizon': 16, 'action_dim': 14, 'joint_dim': 14, 'feature_dim': features,
         'prediction': 'action'},
        {'joints': Normalizer.identity(14), 'features': Normalizer.identity(features),
         'action': Normalizer.identity(14)})
    return Agent({'critic': {'hidden': 256, 'chunk': 'flat'}}, policy)


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""Critics trained anew on the same replay, with one thing or another changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from _tilt.truth import bent
from lwd_learner.algorithms.agent import Agent
from lwd_learner.algorithms.td import TdCritic
from lwd_learner.convert import from_rollout
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.replay import ReplayBuffer
from lwd_learner.sampler import AdaptiveSampler
from lwd_sim.evaluate import rollout

EXPLORE_SEED = 900_000
BATCH = 64


@dataclass(frozen=True)
class Variant:
    """What differs from the agent's own critic."""

    gamma: float = 0.9999
    takeover: str = 'ordinary'
    steps: int = 0
    action: str = 'absolute'
    action_gain: float = 1.0


NEAR = Variant(0.99, 'ordinary', 8, 'relative', 4.0)
VARIANTS = {
    'as in the paper': Variant(),
    'discount .99': Variant(0.99),
    'takeover fails': Variant(takeover='failure'),
    'discount .99, executed rows': Variant(0.99, steps=8),
    'discount .99, executed rows, relative': NEAR,
    'the same, takeover fails': replace(NEAR, takeover='failure'),
}


def retrain(agent: Agent, episodes: Sequence[EpisodeArrays], variant: Variant, updates: int
            ) -> None:
    """Give the agent a critic trained anew on these episodes under a variant."""
    buffer = ReplayBuffer(agent.reference.horizon, variant.gamma, takeover=variant.takeover)
    for one in episodes:
        buffer.add(one)
    c = agent.config
    config = replace(c.critic, steps=variant.steps, action=variant.action,
                     action_gain=variant.action_gain)
    torch.manual_seed(0)
    td = TdCritic(agent.reference, c.value, config, c.divl, c.iql)
    td.phase = 'online'
    sampler = AdaptiveSampler(seed=0)
    for _ in range(updates):
        batch = buffer.gather(sampler.draw(buffer, BATCH), 1, config.steps)
        metrics = td.learn(batch, agent.reference.normalize_action(batch['action']))
        sampler.record(batch['task'].numpy(), batch['origin'].numpy(),
                       metrics['sample_loss'].numpy())
    td.target.eval()
    agent.td, agent.critic, agent.target = td, td.critic, td.target


def explored(policy: Any, tasks: Sequence[str], count: int, scale: float = 0.12,
             share: float = 0.4) -> list[EpisodeArrays]:
    """Return `count` episodes a task in which a share of the policy's chunks is bent."""
    rng = np.random.default_rng(5)

    def act(observations: list[Any], seeds: list[int]) -> np.ndarray:
        chunks = np.array(policy(observations, seeds))
        return np.stack([bent(one, scale * 1.5 * rng.random(), rng) if rng.random() < share
                         else one for one in chunks])

    found = rollout(act, tasks, range(EXPLORE_SEED, EXPLORE_SEED + count), record=True)
    return [from_rollout(one.episode, f'explored-{one.task}-{one.seed}', 'online')
            for one in found]

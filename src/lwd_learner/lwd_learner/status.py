# SPDX-License-Identifier: Apache-2.0
"""What the learner says about itself, without ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
import math

import numpy as np
import torch

from lwd_learner.algorithms.agent import Agent
from lwd_learner.episodes import SOURCE_HUMAN
from lwd_learner.replay import ReplayBuffer

SAMPLE = 64  # human ticks that Q is compared at


@dataclass(frozen=True)
class Status:
    """One moment of the learner; pairs are (offline, online); NaN means no data."""

    phase: str
    reason: str
    step: int
    episodes: tuple[int, int]
    transitions: tuple[int, int]
    checkpoint: str
    checkpoints_published: int
    updates_per_second: float
    data_wait_share: float
    replay_age: float  # s
    metrics: dict[str, float] = field(default_factory=dict)

    def metric(self, name: str) -> float:
        """Return a metric, NaN if there is none yet."""
        return self.metrics.get(name, math.nan)


def compare_corrections(agent: Agent, buffer: ReplayBuffer) -> dict[str, float]:
    """Return mean Q of human chunks ('q_human') and of what the policy would do there ('q_policy').

    Corrections ought to be valued above what they corrected.
    """
    if agent.td is None:
        return {}
    online = buffer.all_starts(origins=(1,), sources=(SOURCE_HUMAN,))
    if not online:
        return {}
    ticks = np.concatenate(list(online.values()))
    # evenly spaced, so that the same buffer gives the same figure
    ticks = ticks[np.linspace(0, len(ticks) - 1, min(SAMPLE, len(ticks))).astype(np.int64)]
    batch = buffer.gather(ticks)
    policy = agent.acting_policy()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(batch['action'].shape, generator=generator)
        proposed = policy.sample(policy.encode(batch), noise)
        done = agent.q_value(batch, batch['action'], batch['mask'])  # an end pads its chunk
        return {'q_human': float(done.mean()),
                'q_policy': float(agent.q_value(batch, proposed).mean())}

# SPDX-License-Identifier: Apache-2.0
"""Normalisation from demonstrations, a fresh policy, the agent around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lwd_core.flow import make_policy
from lwd_core.normalization import Normalizer
from lwd_learner.algorithms.agent import Agent
from lwd_learner.algorithms.config import AgentConfig
from lwd_learner.config import LearnerConfig
from lwd_learner.episodes import EpisodeArrays, SOURCE_POLICY
from lwd_learner.replay import imitation_rule, ReplayBuffer, ReplayError


def demonstrations(episodes: Iterable[EpisodeArrays]) -> list[EpisodeArrays]:
    """Return the successes that no policy had a hand in."""
    return [one for one in episodes if one.success and not (one.source == SOURCE_POLICY).any()]


def normalizers(episodes: Sequence[EpisodeArrays]) -> dict[str, Normalizer]:
    """Return statistics by input name and for 'action', over all ticks of the episodes.

    They are taken once, from the demonstrations, and stay fixed: what the policy learned later
    must mean the same on every robot and in every checkpoint of a run.
    """
    if not episodes:
        raise ReplayError('no demonstration to take normalisation from: record one first')
    names = sorted(episodes[0].inputs)
    norms = {
        name: Normalizer.from_data(np.concatenate([one.inputs[name] for one in episodes]))
        for name in names
    }
    norms['action'] = Normalizer.from_data(np.concatenate([one.actions for one in episodes]))
    return norms


def fresh_policy(config: LearnerConfig, episodes: Sequence[EpisodeArrays], seed: int) -> Any:
    """Return a policy with new weights, its sizes and normalisation taken from `episodes`."""
    norms = normalizers(episodes)
    sizes = {
        'action_dim': norms['action'].size,
        'joint_dim': norms['joints'].size,
        'state_dim': norms['state'].size if 'state' in norms else 0,
        'feature_dim': norms['features'].size if 'features' in norms else 0,
        'instruction_dim': config.instruction_dim,
    }
    torch.manual_seed(seed)
    return make_policy({**config.policy, **sizes}, norms)


def make_agent(
    config: LearnerConfig, policy: Any, seed: int, overrides: Mapping[str, Any] | None = None
) -> Agent:
    """Return the agent of `config.agent` around a fresh or trained policy."""
    settings = AgentConfig.from_dict({**config.agent, **(overrides or {})})
    torch.manual_seed(seed)  # new networks draw their weights from the global generator
    return Agent(settings, policy, seed)


def fill_buffer(
    config: LearnerConfig, episodes: Iterable[EpisodeArrays], selection: str
) -> ReplayBuffer:
    """Return an in-memory buffer with these episodes; `selection` as in `imitation_ticks`."""
    buffer = ReplayBuffer(
        config.horizon, config.replay.gamma, imitation=imitation_rule(selection),
        takeover=config.replay.takeover)
    for one in episodes:
        buffer.add(one)
    return buffer

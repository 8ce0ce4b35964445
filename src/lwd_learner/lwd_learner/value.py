# SPDX-License-Identifier: Apache-2.0
"""What the learner's critic thinks of every tick of a recorded episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from lwd_core.episode import EpisodeMeta, read_episode
from lwd_core.flow import make_policy
from lwd_learner.algorithms import divl
from lwd_learner.algorithms.agent import Agent
from lwd_learner.algorithms.config import AgentConfig
from lwd_learner.config import LearnerConfig
from lwd_learner.convert import convert
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.ingest import IngestSettings
from lwd_learner.online import STATE_FILE
from lwd_learner.replay import ReplayBuffer
from lwd_learner.state_io import load_state, StateError

QUANTILES = {'low': 0.1, 'median': 0.5, 'high': 0.9}
Trace = dict[str, NDArray[Any]]


def load_agent(work_dir: Path, config: LearnerConfig) -> Agent:
    """Return the agent of the learner's saved state, critic and all; StateError if none."""
    path = work_dir / STATE_FILE
    if not path.is_file():
        raise StateError(f'{path} is not there: the learner has not saved its state yet')
    state = load_state(path)
    policy = make_policy(state['policy'], state['normalization'])
    agent = Agent(AgentConfig.from_dict(config.agent), policy)
    agent.load_state_dict(state['agent'])
    return agent


def value_trace(
    work_dir: Path, episode_dir: Path, settings: IngestSettings, config: LearnerConfig
) -> Trace:
    """Return the value of every tick of a recording, by the critic saved in `work_dir`.

    Keys, arrays [T]: 'time' (s since the first tick), 'mean', 'quantile' (at the chosen 'tau'),
    'entropy', 'low'/'median'/'high' quantiles, 'q' of the executed chunk, 'source'; 'probs'
    [T, K] and 'support' [K].
    """
    meta = EpisodeMeta.read(episode_dir)
    data = read_episode(episode_dir, settings.robot, settings.observation, settings.tasks,
                        require_outcome=False)
    arrays = convert(data, meta.bag.get('sha256', ''), config.replay, config.instruction_dim,
                     settings.trunk, online_since=None)
    trace = episode_values(load_agent(work_dir, config), arrays, config)
    trace['time'] = ((data.ticks_ns - data.ticks_ns[0]) * 1e-9).astype(np.float32)
    return trace


@torch.no_grad()
def episode_values(agent: Agent, arrays: EpisodeArrays, config: LearnerConfig) -> Trace:
    """Return what `value_trace` does (but 'time' counts ticks) for an episode in memory."""
    buffer = ReplayBuffer(config.horizon, config.replay.gamma, takeover=config.replay.takeover)
    buffer.add(arrays)
    batch = buffer.gather(np.arange(len(arrays)))
    value = agent.value(batch)
    trace: Trace = {name: tensor.numpy() for name, tensor in value.items()}
    trace['q'] = agent.q_value(batch, batch['action'], batch['mask']).numpy()
    trace['source'] = arrays.source
    trace['time'] = np.arange(len(arrays), dtype=np.float32)
    if 'probs' in value:
        trace['support'] = divl.support(agent.config.divl, value['probs']).numpy()
        for name, level in QUANTILES.items():
            tau = torch.full_like(value['mean'], level)
            trace[name] = divl.quantile(value['probs'], tau, agent.config.divl).numpy()
    return trace

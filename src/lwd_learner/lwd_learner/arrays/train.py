# SPDX-License-Identifier: Apache-2.0
"""The robots' learner on arrays: clone all of the data, then DIVL's value and QAM's tilt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lwd_core.flow import make_policy
from lwd_core.normalization import Normalizer
from lwd_learner.algorithms.agent import Agent
from lwd_learner.algorithms.config import AgentConfig
from lwd_learner.algorithms.divl import DivlConfig
from lwd_learner.arrays.dataset import Dataset, DatasetError
from lwd_learner.arrays.mapping import returns_to_go, ValueMapping
from lwd_learner.arrays.policy import ArrayPolicy
from lwd_learner.arrays.replay import ArrayReplay
from lwd_learner.budget import Budget, Limits, Report
from lwd_learner.build import make_agent
from lwd_learner.config import LearnerConfig
from lwd_learner.online import STATE_FILE
from lwd_learner.state_io import save_state

REPORT_EVERY = 20  # updates
LOGGER = logging.getLogger(__name__)
ALGORITHMS = ('lwd', 'iql', 'bc')  # what rewards suffice for

# The robots' defaults where they fit; what differs is what differs in such data.
DEFAULTS: dict[str, Any] = {
    'policy': {'horizon': 4, 'hidden': 256, 'layers': 3, 'prediction': 'action'},
    'replay': {'gamma': 0.99, 'n_step_offline': 5},  # chunks in a return
    'sft': {'steps': 3000},
    'learning': {'offline_steps': 5000},
    'agent': {
        'acting_ema': 0.01,
        'actor_every': 4, 'actor_batch': 128,  # a QAM update costs as much as ten of the critic
        'bc': {'learning_rate': 1.0e-3, 'loss': 'action'},
        'critic': {'hidden': 256, 'chunk': 'flat'},
        # [0, 1] spans whole episodes' returns; one chunk changes them by a few hundredths
        'qam': {'beta': 20.0, 'learning_rate': 3.0e-4, 'robust': 'drop'},
    },
}


@dataclass(frozen=True)
class Trained:
    """What training leaves."""

    policy: ArrayPolicy
    agent: Agent
    metrics: dict[str, float]
    steps: int  # of the offline phase

    def save(self, folder: Path | str) -> str:
        """Write the checkpoint, and the critic for a look at its values; return the digest.

        The critic's file is written first: a checkpoint that is there has its critic.
        """
        acting = self.agent.acting_policy()
        save_state(Path(folder) / STATE_FILE, {
            'agent': self.agent.state_dict(), 'policy': acting.config(),
            'normalization': acting.normalization()})
        return self.policy.save(str(folder), self.steps, _finite(self.metrics)).digest


def default_config(overrides: Mapping[str, Any] | None = None) -> LearnerConfig:
    """Return DEFAULTS with the given sections' keys over them (one level deep, as in YAML)."""
    sections = {name: dict(values) for name, values in DEFAULTS.items()}
    for name, values in (overrides or {}).items():
        sections[name] = {**sections.get(name, {}), **(values or {})}
    return LearnerConfig.from_dict(sections)


def train(
    data: Dataset, config: LearnerConfig | None = None, seed: int = 0,
    mapping: ValueMapping | None = None, report: Report | None = None,
) -> Trained:
    """Learn from a dataset; `mapping` states the range of returns, None: the data's.

    Cloning takes `sft.steps` or `sft.seconds`, the offline phase `learning.offline_steps` or
    `offline_seconds`. Deterministic for a seed unless a time budget ends it. Raises Diverged.
    """
    config = config or default_config()
    settings = AgentConfig.from_dict(config.agent)
    if settings.algorithm not in ALGORITHMS:
        raise DatasetError(f"agent: algorithm '{settings.algorithm}' asks for outcomes of "
                           f'episodes, which arrays do not have: take one of {ALGORITHMS}')
    if settings.critic.steps or settings.critic.action != 'absolute':
        raise DatasetError("agent.critic: steps and action 'relative' are a robot's, whose chunks "
                           'are replanned and whose actions are joint targets: leave them out')
    gamma = config.replay.gamma
    mapping = mapping or ValueMapping.from_data(data, gamma)
    check_range(data, mapping, gamma, settings.divl)
    replay = ArrayReplay(data, mapping, config.horizon, gamma)
    torch.manual_seed(seed)
    agent = make_agent(config, _fresh_policy(config, data), seed)
    rng = np.random.default_rng(seed)
    metrics = _clone(agent, replay, config, rng, report)
    steps = 0
    if not agent.config.clones_only:
        found, steps = _improve(agent, replay, config, rng, report)
        metrics |= found
    return Trained(ArrayPolicy(agent.acting_policy(), mapping), agent, metrics, steps)


def check_range(data: Dataset, mapping: ValueMapping, gamma: float, law: DivlConfig) -> None:
    """Log the share of rows whose return the value's support clips; refuse where it is all."""
    values = mapping.value(returns_to_go(data, gamma))
    beyond = float(((values < law.low) | (values > law.high)).mean())
    low, high = mapping.returns(np.array([law.low, law.high]))
    if beyond == 1.0:
        raise DatasetError(f'every return lies outside [{low:g}, {high:g}], the support of the '
                           f'value for returns {mapping.low:g} to {mapping.high:g}: state the '
                           'range of the data, or leave it out')
    if beyond > 0:
        LOGGER.warning('%.1f %% of the rows have returns outside [%g, %g], the support of the '
                       'value: clipped to it, differences beyond are not seen', 100 * beyond, low,
                       high)


def normalizer(x: np.ndarray) -> Normalizer:
    """Return the z-score of `x` [N, n] in any unit; a dimension that never varies keeps scale 1."""
    mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    still = std <= 1e-6 * np.maximum(1.0, np.abs(mean))
    return Normalizer(mean.astype(np.float32), np.where(still, 1.0, std).astype(np.float32))


def _fresh_policy(config: LearnerConfig, data: Dataset) -> Any:
    actions = data.actions.shape[1]
    sizes = {'action_dim': actions, 'joint_dim': actions, 'feature_dim': 0, 'instruction_dim': 0,
             'state_dim': data.observations.shape[1]}
    # actions have a known scale: the floor of Normalizer.from_data fits them
    norms = {'state': normalizer(data.observations), 'joints': Normalizer.identity(actions),
             'action': Normalizer.from_data(data.actions)}
    return make_policy({**config.policy, **sizes}, norms)


def _clone(agent: Agent, replay: ArrayReplay, config: LearnerConfig, rng: np.random.Generator,
           report: Report | None) -> dict[str, float]:
    """Fit the reference to all of the data: what is better is found by the value."""
    settings, limits, smooth = config.sft, Limits(), 0.0
    budget = Budget(settings.steps, settings.seconds)
    for step in budget:
        agent.anneal(budget.fraction)
        metrics = agent.pretrain(replay.sample(settings.batch, 1, rng))
        limits.check(step, metrics)
        smooth += (metrics['bc_loss'] - smooth) / min(step + 1, 100)
        if report is not None and step % REPORT_EVERY == 0:
            report(budget.fraction / 2, f'cloning, step {step}, loss {smooth:.4f}')
    return {'bc_loss': smooth}


def _improve(agent: Agent, replay: ArrayReplay, config: LearnerConfig, rng: np.random.Generator,
             report: Report | None) -> tuple[dict[str, float], int]:
    settings = config.learning
    if not settings.offline_steps:
        raise DatasetError('learning.offline_steps is 0: without an offline phase this is cloning; '
                           'say so with agent: {algorithm: bc}, or give steps')
    limits = Limits(settings.max_value_loss, settings.max_q)
    budget = Budget(settings.offline_steps, settings.offline_seconds)
    means: dict[str, float] = {}
    agent.begin('offline')
    for step in budget:
        metrics = agent.update(replay.sample(settings.batch, config.replay.n_step_offline, rng))
        metrics.pop('sample_loss', None)
        limits.check(step, metrics)
        for name, value in metrics.items():
            means[name] = means.get(name, value) + (value - means.get(name, value)) / 50
        if report is not None and step % REPORT_EVERY == 0:
            report(0.5 + budget.fraction / 2, f'offline, step {step}, Q {means["q_mean"]:.3f}')
    return means, budget.done


def _finite(metrics: dict[str, float]) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(
        {name: value if math.isfinite(value) else None for name, value in metrics.items()}))
    return data

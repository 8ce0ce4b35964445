# SPDX-License-Identifier: Apache-2.0
"""The imitation loop: SFT and HG-DAgger are the same loop on different data."""

from __future__ import annotations

import numpy as np

from lwd_learner.algorithms.agent import Agent
from lwd_learner.budget import Budget, Limits, Report
from lwd_learner.config import ImitationConfig
from lwd_learner.replay import ReplayBuffer, ReplayError
from lwd_learner.sampler import draw_uniform

REPORT_EVERY = 20  # steps


def fit_imitation(
    agent: Agent, buffer: ReplayBuffer, settings: ImitationConfig, seed: int,
    report: Report | None = None, limits: Limits | None = None,
) -> dict[str, float]:
    """Clone what may be imitated, tasks drawn equally; return {'bc_loss', 'bc_steps'}.

    Deterministic for a seed unless `settings.seconds` ends it. Raises Diverged.
    """
    starts = buffer.imitation_starts()
    if not starts:
        raise ReplayError(
            'nothing to imitate: no success and no correction among '
            f'{sum(buffer.episodes)} episodes; demonstrate the task or label a success')
    generator, limits = np.random.default_rng(seed), limits or Limits()
    budget, smooth = Budget(settings.steps, settings.seconds), 0.0
    for step in budget:
        agent.anneal(budget.fraction)
        batch = buffer.gather(draw_uniform(starts, settings.batch, generator))
        metrics = agent.pretrain(batch)
        limits.check(step, metrics)
        smooth += (metrics['bc_loss'] - smooth) / min(step + 1, 100)
        if report is not None and step % REPORT_EVERY == 0:
            report(budget.fraction, f'step {step} loss {smooth:.4f}')
    return {'bc_loss': smooth, 'bc_steps': float(budget.done)}

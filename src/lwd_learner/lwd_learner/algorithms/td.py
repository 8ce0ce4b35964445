# SPDX-License-Identifier: Apache-2.0
"""Q and V by temporal differences, one step in the paper's order: V, y with the new V, Q, EMA."""

from __future__ import annotations

from collections.abc import Callable
import copy
import math
from typing import Any

import torch
from torch import Tensor

from lwd_core.flow import Batch, FlowNetwork
from lwd_learner.algorithms import divl, iql
from lwd_learner.algorithms.critics import aggregate, Critic, CriticConfig, ema_update
from lwd_learner.algorithms.divl import DivlConfig
from lwd_learner.algorithms.figures import by_outcome_and_source
from lwd_learner.algorithms.iql import IqlConfig
from lwd_learner.algorithms.optim import adam, step

PHASES = ('offline', 'online')
VALUES = ('divl', 'expectile')


class TdCritic:
    """`critic` learns, `target` is its EMA. `value` 'divl' or, as the ablation, 'expectile'."""

    def __init__(self, policy: FlowNetwork, value: str, critic: CriticConfig, law: DivlConfig,
                 expectile: IqlConfig) -> None:
        """Take input sizes and normalisation from `policy`."""
        self.kind, self.config, self.law, self.expectile = value, critic, law, expectile
        self.phase = 'offline'
        self.critic = Critic(policy, critic, 1 if value == 'expectile' else law.atoms)
        self.target = copy.deepcopy(self.critic).eval().requires_grad_(False)
        self.optimizer = adam(self.critic.parameters(), critic.learning_rate, critic.weight_decay)

    @property
    def tau_base(self) -> float:
        """The quantile level of the phase at zero entropy."""
        return (self.law.tau_base_online if self.phase == 'online'
                else self.law.tau_base_offline)

    def learn(self, batch: dict[str, Any], chunk: Tensor) -> dict[str, Any]:
        """Take one step on a transition batch with normalised chunks [B, H, d]; return metrics.

        'sample_loss' [B] among them is Q's squared error, the replay sampler's loss.
        """
        mask = batch['mask']
        label = self.label(batch, chunk, mask)
        chunk = self.critic.seen(batch, chunk)
        # V first. Its gradient and Q's are taken apart so that y comes from the new V.
        logits = self.critic.logits(self.critic.encode(batch))
        value_loss = self._value_loss(logits, label)
        value_norm = step(self.optimizer, value_loss, self.config.gradient_clip)
        next_value, tau = self.next_value(batch['next'])
        target = divl.td_target(batch['reward'], batch['discount'], next_value)
        q = self.critic.values(self.critic.encode(batch), chunk, mask)
        q_loss = divl.q_loss(q, target)
        q_norm = step(self.optimizer, q_loss, self.config.gradient_clip)
        ema_update(self.target, self.critic, self.config.ema)
        metrics = {'value_loss': float(value_loss.detach()), 'q_loss': float(q_loss.detach()),
                   'value_gradient': value_norm, 'q_gradient': q_norm,
                   'q_mean': float(q.detach().mean()), 'target_mean': float(target.mean()),
                   'target_max': float(target.max()), 'tau': float(tau.mean()),
                   'sample_loss': ((q.detach() - target) ** 2).mean(0)}
        return metrics | self._figures(batch, logits.detach(), q.detach())

    @torch.no_grad()
    def label(self, batch: Batch, chunk: Tensor, mask: Tensor) -> Tensor:
        """Return the EMA critic's Q [B], what V learns the law of."""
        target, chunk = self.target, self.target.seen(batch, chunk)
        return aggregate(target.values(target.encode(batch), chunk, mask), self.config.aggregate)

    @torch.no_grad()
    def next_value(self, inputs: Batch) -> tuple[Tensor, Tensor]:
        """Return V [B] to bootstrap from, and the quantile level [B] it was read at."""
        network = self.target if self.config.ema_value else self.critic
        network.eval()
        logits = network.logits(network.encode(inputs))
        self.critic.train()
        return self.read(logits)

    def read(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state's value [B] from V's output, and the level [B] (NaN: an expectile)."""
        if self.kind == 'expectile':
            return logits[:, 0], torch.full_like(logits[:, 0], math.nan)
        return divl.state_value(logits, self.tau_base, self.law)

    def gradient_target(self, inputs: Batch) -> Callable[[Tensor], Tensor]:
        """Return the normalised-chunk value [B, H, d] -> [B] whose gradient tilts the policy."""
        network = self.target if self.config.target_gradient else self.critic
        with torch.no_grad():
            z = network.encode(inputs)

        def q(chunk: Tensor) -> Tensor:
            mask = chunk.new_ones(chunk.shape[:2])
            return aggregate(network.values(z, network.seen(inputs, chunk), mask),
                             self.config.gradient)

        return q

    def report(self, inputs: Batch) -> dict[str, Tensor]:
        """Return V at observations: 'probs' [B, K], 'mean', 'tau', 'quantile', 'entropy' [B]."""
        logits = self.target.logits(self.target.encode(inputs))
        if self.kind == 'expectile':
            return {'mean': logits[:, 0], 'quantile': logits[:, 0]}
        probs = logits.softmax(-1)
        quantile, tau = divl.state_value(logits, self.tau_base, self.law)
        return {'probs': probs, 'mean': probs @ divl.support(self.law, probs), 'tau': tau,
                'quantile': quantile, 'entropy': divl.normalized_entropy(probs)}

    def _value_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        if self.kind == 'divl':
            return divl.value_loss(logits, label, self.law)
        level = self.expectile
        return iql.expectile_loss(logits[:, 0], label, level.expectile_online
                                  if self.phase == 'online' else level.expectile_offline)

    def _figures(self, batch: dict[str, Any], logits: Tensor, q: Tensor) -> dict[str, float]:
        if self.kind == 'expectile':
            return by_outcome_and_source(batch, q.mean(0), logits[:, 0])
        probs = logits.softmax(-1)
        return {'entropy': float(divl.normalized_entropy(probs).mean()),
                **by_outcome_and_source(batch, q.mean(0), probs @ divl.support(self.law, probs))}

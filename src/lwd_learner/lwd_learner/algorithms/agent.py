# SPDX-License-Identifier: Apache-2.0
"""One learner state and one update, whatever the algorithm: critic, reference, policy, EMA."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn, Tensor

from lwd_core.flow import Batch, FlowNetwork, Policy, ResidualFlow
from lwd_learner.algorithms import iql
from lwd_learner.algorithms.bc import bc_loss, policy_inputs, randn_like
from lwd_learner.algorithms.config import AgentConfig
from lwd_learner.algorithms.critics import ema_update
from lwd_learner.algorithms.optim import adam, descend, frozen, step
from lwd_learner.algorithms.qam import qam_loss
from lwd_learner.algorithms.recap import conditioned, drop_signs, RecapCritic
from lwd_learner.algorithms.td import PHASES, TdCritic


class Agent:
    """Trains a policy. A batch is what replay gathers: policy inputs at t, 'action' [B, H, d],
    'mask' and 'imitate' [B, H], 'reward' and 'discount' [B], 'next' (inputs where the window ends).

    `reference` clones (`pretrain`, and in updates if it tracks); `policy` is what is learned: QAM
    tilts it, the other algorithms clone, and it is the reference; `acting` is what robots get.
    """

    def __init__(self, config: AgentConfig | dict[str, Any], policy: Policy, seed: int = 0):
        """Start from `policy`: a fresh flow MLP, or one that was trained (a checkpoint)."""
        self.config = config if isinstance(config, AgentConfig) else AgentConfig.from_dict(config)
        c = self.config
        self.generator = torch.Generator().manual_seed(seed)
        self.phase, self.step, self._scale = 'offline', 0, 1.0
        base, tilted = _unpack(policy)
        self.reference: FlowNetwork = conditioned(base) if c.algorithm == 'recap' else base
        self.policy: Policy = self._policy(tilted)
        self.acting: Policy = copy.deepcopy(self.policy).eval()
        self._reference_optimizer = adam(
            self.reference.parameters(), c.bc.learning_rate, c.bc.weight_decay)
        self.td: TdCritic | None = None
        self.recap: RecapCritic | None = None
        if c.algorithm == 'recap':
            self.recap = RecapCritic(self.reference, c.recap, c.critic)
        elif not c.clones_only:
            kind = 'expectile' if c.algorithm == 'iql' else c.value
            self.td = TdCritic(self.reference, kind, c.critic, c.divl, c.iql)
            self.critic, self.target = self.td.critic, self.td.target
        if c.algorithm == 'lwd':
            self._actor: nn.Module = (
                self.policy.tilt if isinstance(self.policy, ResidualFlow) else self.policy)
            self._policy_optimizer = adam(
                self._actor.parameters(), c.qam.learning_rate, c.qam.weight_decay)

    def _policy(self, tilted: Policy | None) -> Policy:
        c = self.config
        if c.algorithm != 'lwd':
            return self.reference
        if c.form == 'copy':
            return copy.deepcopy(self.reference)
        if isinstance(tilted, ResidualFlow):
            return tilted
        return ResidualFlow.over(self.reference, c.tilt_hidden, c.tilt_layers)

    def begin(self, phase: str) -> None:
        """Enter 'offline' or 'online': the level of the value quantile differs."""
        if phase not in PHASES:
            raise ValueError(f'phase {phase!r} is not one of {PHASES}')
        self.phase = phase
        if self.td is not None:
            self.td.phase = phase

    def anneal(self, progress: float) -> None:
        """Scale the imitation learning rate along a cosine; `progress` in [0, 1], ends at 2 %."""
        self._scale = 0.02 + 0.98 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2

    @property
    def tau_base(self) -> float:
        """The quantile level of the phase at zero entropy."""
        d = self.config.divl
        return d.tau_base_offline if self.phase == 'offline' else d.tau_base_online

    def pretrain(self, imitation: dict[str, Any]) -> dict[str, float]:
        """Take one cloning step on 'imitate'-marked steps: SFT, HG-DAgger."""
        metrics = self._clone(imitation, self.config.bc.learning_rate)
        self.step += 1
        if self.config.form == 'copy' and self.policy is not self.reference:
            self.policy.load_state_dict(self.reference.state_dict())
        self._follow()
        return metrics

    def update(self, batch: dict[str, Any], imitation: dict[str, Any] | None = None
               ) -> dict[str, Any]:
        """Take one full step; 'sample_loss' [B] in the result feeds the replay's sampler.

        `imitation` is the batch to clone for algorithms that choose their imitation data.
        """
        c = self.config
        cloned = batch if imitation is None else imitation
        if c.clones_only:
            return self.pretrain(cloned)
        rate = c.bc.tracking_rate or c.bc.learning_rate
        if c.algorithm == 'recap':
            metrics = self._recap_step(batch, rate)
        elif c.algorithm == 'iql':
            metrics = self._iql_step(batch, rate)
        else:
            metrics = self._td.learn(batch, self._chunk(batch))
            if c.reference == 'tracks':
                metrics |= self._clone(cloned, rate)
            if self.step >= c.actor_start and self.step % c.actor_every == 0:
                metrics |= self._learn_policy(batch)
        self.step += 1
        self._follow()
        return metrics

    # -- parts of a step

    @property
    def _td(self) -> TdCritic:
        if self.td is None:
            raise ValueError(f"algorithm '{self.config.algorithm}' has no Q: nothing to ask")
        return self.td

    def _chunk(self, batch: Batch) -> Tensor:
        return self.reference.normalize_action(batch['action'])

    def _recap_step(self, batch: dict[str, Any], rate: float) -> dict[str, Any]:
        assert self.recap is not None
        metrics = self.recap.learn(batch)
        signs = self.recap.signs(batch)
        shown = drop_signs(signs, self.config.recap.drop, self.generator)
        metrics['positive_share'] = float((signs > 0).float().mean())
        return metrics | self._clone({**batch, 'advantage': shown}, rate)

    def _iql_step(self, batch: dict[str, Any], rate: float) -> dict[str, Any]:
        td, chunk = self._td, self._chunk(batch)
        metrics = td.learn(batch, chunk)
        with torch.no_grad():
            q = td.label(batch, chunk * batch['mask'][..., None], batch['mask'])
            v = td.report(batch)['quantile']
        weight = iql.advantage_weights(q, v, self.config.iql)
        metrics['weight_mean'] = float(weight.mean())
        return metrics | self._clone(batch, rate, weight)

    def _clone(self, batch: dict[str, Any], rate: float, weight: Tensor | None = None
               ) -> dict[str, float]:
        for group in self._reference_optimizer.param_groups:
            group['lr'] = rate * self._scale
        self.reference.train()
        loss = bc_loss(self.reference, batch, self.config.bc, weight=weight,
                       generator=self.generator)
        norm = step(self._reference_optimizer, loss, self.config.qam.gradient_clip)
        return {'bc_loss': float(loss.detach()), 'bc_gradient': norm}

    def _learn_policy(self, batch: dict[str, Any]) -> dict[str, float]:
        c = self.config
        rows = torch.randperm(len(batch['action']), generator=self.generator)  # batches are sorted
        rows = rows[:c.actor_batch or len(rows)]
        inputs = {name: x[rows] for name, x in policy_inputs(batch).items()}
        noise = randn_like(batch['action'][rows], self.generator)
        shares: list[dict[str, float]] = []
        self._policy_optimizer.zero_grad()
        with frozen(self.reference, self._td.critic):  # no gradient of theirs is asked for
            for part in torch.arange(len(rows)).split(c.actor_micro or len(rows)):
                loss, logged = self._matching({name: x[part] for name, x in inputs.items()},
                                              noise[part])
                (loss * (len(part) / len(rows))).backward()
                shares.append({'qam_loss': float(loss.detach()),
                               **{name: float(x) for name, x in logged.items()}})
        norm = descend(self._policy_optimizer, c.qam.gradient_clip)
        return {'qam_gradient': norm,
                **{name: sum(share[name] for share in shares) / len(shares) for name in shares[0]}}

    def _matching(self, inputs: Batch, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return QAM's loss at these states; the graph of all flow steps lives until its use."""
        with torch.no_grad():  # encoded once; every flow step reuses it
            anchor = self.reference.encode(inputs)
        prefix = self.policy.encode(inputs)
        return qam_loss(
            lambda x, w: self.policy.velocity(_tile(prefix, x), x, w),
            lambda x, w: self.reference.velocity(_tile(anchor, x), x, w),
            self._td.gradient_target(inputs), noise, self.config.qam, self.generator)

    def _follow(self) -> None:
        # a short memory at first, so that the EMA does not carry the initial weights along
        rate = self.config.acting_ema
        ema_update(self.acting, self.policy, max(rate, 1 / (1 + self.step)) if rate else 1.0)

    # -- what others ask

    @torch.no_grad()
    def value(self, inputs: Batch) -> dict[str, Tensor]:
        """Return V's law at observations: 'probs' [B, K], 'mean', 'tau', 'quantile', 'entropy'."""
        return (self.recap or self._td).report(inputs)

    @torch.no_grad()
    def q_value(self, inputs: Batch, action: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the aggregated target Q [B] of chunks `action` [B, H, d] in robot units.

        `mask` [B, H]: the steps that were executed, where an episode ended; None: all.
        """
        mask = action.new_ones(action.shape[:2]) if mask is None else mask
        return self._td.label(inputs, self.reference.normalize_action(action), mask)

    def acting_policy(self) -> Policy:
        """Return the policy to publish."""
        return self.acting

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {
            'reference': self.reference, 'acting': self.acting,
            'reference_optimizer': self._reference_optimizer}
        if self.recap is not None:
            parts['recap'] = self.recap
        if self.td is not None:
            parts |= {'critic': self.critic, 'target': self.target,
                      'critic_optimizer': self.td.optimizer}
        if self.config.algorithm == 'lwd':
            parts |= {'policy': self._actor, 'policy_optimizer': self._policy_optimizer}
        return parts

    def state_dict(self) -> dict[str, Any]:
        """Return everything a bit-exact continuation needs."""
        return {**{name: part.state_dict() for name, part in self._parts().items()},
                'generator': self.generator.get_state(), 'step': self.step, 'phase': self.phase,
                'scale': self._scale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`, which stays untouched."""
        state = copy.deepcopy(state)  # optimisers would keep its tensors and step them
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.generator.set_state(state['generator'])
        self.step, self._scale = int(state['step']), float(state['scale'])
        self.begin(str(state['phase']))


def _unpack(policy: Policy) -> tuple[FlowNetwork, Policy | None]:
    return (policy.base, policy) if isinstance(policy, ResidualFlow) else (policy, None)


def _tile(prefix: Tensor, x: Tensor) -> Tensor:
    """Repeat a prefix [B, P] for all flow steps of x [N * B, ...] (step-major)."""
    return prefix if len(prefix) == len(x) else prefix.repeat(len(x) // len(prefix), 1)

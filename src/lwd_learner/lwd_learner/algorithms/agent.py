# SPDX-License-Identifier: Apache-2.0
"""One learner state and one update: V, targets with the new V, Q, EMA, reference, policy."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn, Tensor

from lwd_core.flow import Batch, FlowMLP, Policy, ResidualFlow
from lwd_learner.algorithms import divl, iql
from lwd_learner.algorithms.bc import bc_loss, policy_inputs, randn_like
from lwd_learner.algorithms.config import AgentConfig
from lwd_learner.algorithms.critics import aggregate, Critic, ema_update
from lwd_learner.algorithms.qam import qam_loss

PHASES = ('offline', 'online')


class Agent:
    """Trains a policy. A batch is what replay gathers: policy inputs at t, 'action' [B, H, d],
    'mask' and 'imitate' [B, H], 'reward' and 'discount' [B], 'next' (inputs where the window ends).

    `reference` clones (`pretrain`, and in updates if it tracks); `policy` is tilted by QAM;
    `acting` is what robots get. With algorithm 'bc' all three are the reference.
    """

    def __init__(self, config: AgentConfig | dict[str, Any], policy: Policy, seed: int = 0):
        """Start from `policy`: a fresh flow MLP, or one that was trained (a checkpoint)."""
        self.config = config if isinstance(config, AgentConfig) else AgentConfig.from_dict(config)
        c = self.config
        self.generator = torch.Generator().manual_seed(seed)
        self.phase, self.step, self._scale = 'offline', 0, 1.0
        base, tilted = _unpack(policy)
        self.reference: FlowMLP = base
        self.policy: Policy = self._policy(tilted)
        self.acting: Policy = copy.deepcopy(self.policy).eval()
        bc = c.bc
        self._reference_optimizer = torch.optim.AdamW(
            self.reference.parameters(), bc.learning_rate, weight_decay=bc.weight_decay, fused=True)
        if c.algorithm == 'bc':
            return
        scalar = c.value == 'expectile'
        self.critic = Critic(self.reference, c.critic, 1 if scalar else c.divl.atoms)
        self.target = copy.deepcopy(self.critic).eval().requires_grad_(False)
        critic = c.critic
        self._critic_optimizer = torch.optim.AdamW(
            self.critic.parameters(), critic.learning_rate, weight_decay=critic.weight_decay,
            fused=True)
        self._actor = self.policy.tilt if isinstance(self.policy, ResidualFlow) else self.policy
        self._policy_optimizer = torch.optim.AdamW(
            self._actor.parameters(), c.qam.learning_rate, weight_decay=c.qam.weight_decay,
            fused=True)

    def _policy(self, tilted: Policy | None) -> Policy:
        c = self.config
        if c.algorithm == 'bc':
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
        loss = self._clone(imitation, self.config.bc.learning_rate)
        self.step += 1
        if self.config.form == 'copy' and self.policy is not self.reference:
            self.policy.load_state_dict(self.reference.state_dict())
        self._follow()
        return {'bc_loss': float(loss)}

    def update(self, batch: dict[str, Any], imitation: dict[str, Any] | None = None
               ) -> dict[str, Any]:
        """Take one full step; 'sample_loss' [B] in the result feeds the replay's sampler."""
        c = self.config
        cloned = batch if imitation is None else imitation
        if c.algorithm == 'bc':
            return self.pretrain(cloned)
        metrics = self._learn_critic(batch)
        if c.reference == 'tracks':
            metrics['bc_loss'] = float(
                self._clone(cloned, c.bc.tracking_rate or c.bc.learning_rate))
        if self.step >= c.actor_start and self.step % c.actor_every == 0:
            metrics.update(self._learn_policy(batch))
        self.step += 1
        self._follow()
        return metrics

    # -- parts of a step, in the order they run

    def _learn_critic(self, batch: dict[str, Any]) -> dict[str, Any]:
        c = self.config
        chunk, mask = self.reference.normalize_action(batch['action']), batch['mask']
        chunk = chunk * mask[..., None]
        with torch.no_grad():
            label = aggregate(self.target.values(self.target.encode(batch), chunk, mask),
                              c.critic.aggregate)
        # V first. Its gradient and Q's are taken apart so that y comes from the new V.
        logits = self.critic.logits(self.critic.encode(batch))
        value_loss = self._value_loss(logits, label)
        self._step(self._critic_optimizer, value_loss, c.critic.gradient_clip)
        next_value, tau = self.next_value(batch['next'])
        target = divl.td_target(batch['reward'], batch['discount'], next_value)
        q = self.critic.values(self.critic.encode(batch), chunk, mask)
        q_loss = divl.q_loss(q, target)
        self._step(self._critic_optimizer, q_loss, c.critic.gradient_clip)
        ema_update(self.target, self.critic, c.critic.ema)
        return self._critic_metrics(batch, logits.detach(), q.detach(), target, tau,
                                    value_loss, q_loss)

    def _value_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        c = self.config
        if c.value == 'divl':
            return divl.value_loss(logits, label, c.divl)
        online = self.phase == 'online'
        level = c.iql.expectile_online if online else c.iql.expectile_offline
        return iql.expectile_loss(logits[:, 0], label, level)

    @torch.no_grad()
    def next_value(self, inputs: Batch) -> tuple[Tensor, Tensor]:
        """Return V [B] to bootstrap from, and the quantile level [B] it was read at."""
        network = self.target if self.config.critic.ema_value else self.critic
        network.eval()
        logits = network.logits(network.encode(inputs))
        self.critic.train()
        if self.config.value == 'expectile':
            return logits[:, 0], torch.full_like(logits[:, 0], math.nan)
        return divl.state_value(logits, self.tau_base, self.config.divl)

    def _critic_metrics(self, batch: dict[str, Any], logits: Tensor, q: Tensor, target: Tensor,
                        tau: Tensor, value_loss: Tensor, q_loss: Tensor) -> dict[str, Any]:
        metrics: dict[str, Any] = {
            'value_loss': float(value_loss.detach()), 'q_loss': float(q_loss.detach()),
            'q_mean': float(q.mean()), 'target_mean': float(target.mean()),
            'tau': float(tau.mean()),
            'sample_loss': ((q - target) ** 2).mean(0)}
        if self.config.value == 'divl':
            metrics['entropy'] = float(divl.normalized_entropy(logits.softmax(-1)).mean())
        success = batch.get('success')
        if success is not None:
            for name, chosen in (('success', success > 0.5), ('failure', success < 0.5)):
                metrics[f'q_{name}'] = float(q[:, chosen].mean()) if chosen.any() else math.nan
        return metrics

    def _clone(self, batch: dict[str, Any], rate: float) -> Tensor:
        for group in self._reference_optimizer.param_groups:
            group['lr'] = rate * self._scale
        self.reference.train()
        loss = bc_loss(self.reference, batch, self.config.bc, generator=self.generator)
        self._step(self._reference_optimizer, loss, self.config.qam.gradient_clip)
        return loss.detach()

    def _learn_policy(self, batch: dict[str, Any]) -> dict[str, float]:
        c = self.config
        rows = torch.randperm(len(batch['action']), generator=self.generator)  # batches are sorted
        rows = rows[:c.actor_batch or len(rows)]
        inputs = {name: x[rows] for name, x in policy_inputs(batch).items()}
        noise = randn_like(batch['action'][rows], self.generator)
        with torch.no_grad():  # encoded once; every flow step reuses it
            anchor = self.reference.encode(inputs)
        prefix = self.policy.encode(inputs)
        loss, logged = qam_loss(
            lambda x, w: self.policy.velocity(_tile(prefix, x), x, w),
            lambda x, w: self.reference.velocity(_tile(anchor, x), x, w),
            self._q_of(inputs), noise, c.qam, self.generator)
        norm = self._step(self._policy_optimizer, loss, c.qam.gradient_clip)
        return {'qam_loss': float(loss.detach()), 'qam_gradient': norm,
                **{name: float(x) for name, x in logged.items()}}

    def _q_of(self, inputs: Batch) -> Any:
        """Return the normalised-chunk value whose gradient tilts the policy."""
        network = self.target if self.config.critic.target_gradient else self.critic
        with torch.no_grad():
            z = network.encode(inputs)

        def q(chunk: Tensor) -> Tensor:
            mask = chunk.new_ones(chunk.shape[:2])
            return aggregate(network.values(z, chunk, mask), self.config.critic.gradient)

        return q

    def _step(self, optimizer: torch.optim.Optimizer, loss: Tensor, clip: float) -> float:
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(
            [p for group in optimizer.param_groups for p in group['params']], clip)
        optimizer.step()
        return float(norm)

    def _follow(self) -> None:
        # a short memory at first, so that the EMA does not carry the initial weights along
        rate = self.config.acting_ema
        ema_update(self.acting, self.policy, max(rate, 1 / (1 + self.step)) if rate else 1.0)

    # -- what others ask

    @torch.no_grad()
    def value(self, inputs: Batch) -> dict[str, Tensor]:
        """Return V's law at observations: 'probs' [B, K], 'mean', 'tau', 'quantile', 'entropy'."""
        logits = self.target.logits(self.target.encode(inputs))
        if self.config.value == 'expectile':
            return {'mean': logits[:, 0], 'quantile': logits[:, 0]}
        d = self.config.divl
        probs = logits.softmax(-1)
        quantile, tau = divl.state_value(logits, self.tau_base, d)
        return {'probs': probs, 'mean': probs @ divl.support(d, probs), 'tau': tau,
                'quantile': quantile, 'entropy': divl.normalized_entropy(probs)}

    @torch.no_grad()
    def q_value(self, inputs: Batch, action: Tensor) -> Tensor:
        """Return the aggregated target Q [B] of chunks `action` [B, H, d] in robot units."""
        mask = action.new_ones(action.shape[:2])
        chunk = self.reference.normalize_action(action)
        q = self.target.values(self.target.encode(inputs), chunk, mask)
        return aggregate(q, self.config.critic.aggregate)

    def acting_policy(self) -> Policy:
        """Return the policy to publish."""
        return self.acting

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {
            'reference': self.reference, 'acting': self.acting,
            'reference_optimizer': self._reference_optimizer}
        if self.config.algorithm != 'bc':
            parts |= {'policy': self._actor, 'critic': self.critic, 'target': self.target,
                      'critic_optimizer': self._critic_optimizer,
                      'policy_optimizer': self._policy_optimizer}
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


def _unpack(policy: Policy) -> tuple[FlowMLP, Policy | None]:
    return (policy.base, policy) if isinstance(policy, ResidualFlow) else (policy, None)


def _tile(prefix: Tensor, x: Tensor) -> Tensor:
    """Repeat a prefix [B, P] for all flow steps of x [N * B, ...] (step-major)."""
    return prefix if len(prefix) == len(x) else prefix.repeat(len(x) // len(prefix), 1)

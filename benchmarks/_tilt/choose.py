# SPDX-License-Identifier: Apache-2.0
"""Let the critic choose or move the policy's chunks; what its gradients look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lwd_core.flow.inputs import observation_arrays
from lwd_core.flow.sampler import chunk_noise
from lwd_learner.algorithms.agent import Agent
from lwd_learner.replay import ReplayBuffer
from lwd_sim.evaluate import evaluation_seeds, rollout

SOURCE_HUMAN = 2


class Chooser:
    """A batch policy that picks among N samples by the critic, or moves samples by its gradient."""

    def __init__(self, agent: Agent, how: str, count: int = 16, step: float = 0.2) -> None:
        self.agent, self.how, self.count, self.step = agent, how, count, step
        acting = agent.acting_policy()  # an EMA of the weights; its base is it without the tilt
        self.policy = (acting if how == 'policy' else getattr(acting, 'base', acting)).eval()

    def __call__(self, observations: list[Any], seeds: list[int]) -> np.ndarray:
        """Return chunks [B, H, d]."""
        batch = inputs_of(self.policy, observations)
        count = self.count if self.how in ('best', 'worst') else 1
        rows = {name: x.repeat_interleave(count, 0) for name, x in batch.items()}
        noise = torch.cat([chunk_noise(seed + 7919 * k, self.policy.horizon, self.policy.action_dim)
                           for seed in seeds for k in range(count)])
        with torch.no_grad():
            chunk = self.policy.sample(self.policy.encode(rows), noise)
        if self.how in ('best', 'worst'):
            q = self.agent.q_value(rows, chunk).view(-1, count)
            index = q.argmax(1) if self.how == 'best' else q.argmin(1)
            chunk = chunk.view(-1, count, *chunk.shape[1:])[torch.arange(len(q)), index]
        elif self.how in ('up', 'down'):
            sign = 1.0 if self.how == 'up' else -1.0
            x = self.policy.normalize_action(chunk)
            gradient = q_gradient(self.agent, batch, x)
            norm = gradient.flatten(1).norm(dim=1).clamp(min=1e-9)[:, None, None]
            chunk = self.policy.unnormalize_action(x + sign * self.step * gradient / norm)
        return np.asarray(chunk.numpy(), np.float32)


def inputs_of(policy: Any, observations: Sequence[Any]) -> dict[str, torch.Tensor]:
    """Return a batch of observations."""
    rows = [observation_arrays(item, policy.config(), None) for item in observations]
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


def q_gradient(agent: Agent, batch: dict[str, torch.Tensor], x: torch.Tensor,
               head: int | None = None) -> torch.Tensor:
    """Return the gradient [B, H, d] of Q (mean of heads, or one) at normalised chunks."""
    x = x.detach().requires_grad_(True)
    z = agent.target.encode(batch)
    values = agent.target.values(z, agent.target.seen(batch, x), x.new_ones(x.shape[:2]))
    value = values.mean(0) if head is None else values[head]
    gradient, = torch.autograd.grad(value.sum(), x)
    return gradient


def gradients(agent: Agent, buffer: ReplayBuffer, count: int) -> dict[str, float]:
    """Compare gradients: of the heads, and with what people did where they corrected."""
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    found = np.concatenate(list(buffer.all_starts(origins=(1,), sources=(SOURCE_HUMAN,)).values()))
    ticks = np.sort(rng.choice(found, min(count, len(found)), replace=False))
    batch = buffer.gather(ticks)
    batch = {name: x for name, x in batch.items() if torch.is_tensor(x)}
    noise = torch.randn(batch['action'].shape, generator=generator)
    with torch.no_grad():
        proposed = agent.reference.sample(agent.reference.encode(batch), noise)
    x = agent.reference.normalize_action(proposed)
    human = agent.reference.normalize_action(batch['action'])
    whole = batch['mask'].min(1).values > 0
    one, two = (q_gradient(agent, batch, x, head) for head in (0, 1))
    both = q_gradient(agent, batch, x)
    gap = agent.q_value(batch, batch['action']) - agent.q_value(batch, proposed)
    spread, moved, gain = tilt_size(agent, batch, noise)
    return {
        'cosine_of_two_heads': cosine(one, two, whole),
        'cosine_with_the_correction': cosine(both, human - x, whole),
        'q_human_above_policy_share': float((gap[whole] > 0).float().mean()),
        'q_human_minus_policy': float(gap[whole].mean()),
        'reference_spread': spread, 'tilt_displacement': moved, 'q_gain_of_the_tilt': gain,
        'gradient_norm': float(both.flatten(1).norm(dim=1).mean()),
        'correction_norm': float((human - x)[whole].flatten(1).norm(dim=1).mean())}


@torch.no_grad()
def tilt_size(agent: Agent, batch: dict[str, torch.Tensor], noise: torch.Tensor
              ) -> tuple[float, float, float]:
    """Return the reference's norm of spread about its mean, how far the tilt moves a sample from
    the same noise (both of normalised chunks), and what that adds to Q.
    """
    acting = agent.acting_policy().eval()
    base = getattr(acting, 'base', agent.reference)
    prefix = base.encode(batch)
    samples = torch.stack([base.normalize_action(base.sample(prefix, torch.randn_like(noise)))
                           for _ in range(8)])
    spread = (samples - samples.mean(0)).flatten(2).norm(dim=2).mean()
    plain, tilted = base.sample(prefix, noise), acting.sample(acting.encode(batch), noise)
    moved = base.normalize_action(tilted) - base.normalize_action(plain)
    gain = agent.q_value(batch, tilted) - agent.q_value(batch, plain)
    return float(spread), float(moved.flatten(1).norm(dim=1).mean()), float(gain.mean())


def cosine(a: torch.Tensor, b: torch.Tensor, chosen: torch.Tensor) -> float:
    """Return the mean cosine between rows."""
    return float(torch.cosine_similarity(a.flatten(1), b.flatten(1))[chosen].mean())


def success(agent: Agent, how: str, tasks: Sequence[str], starts: int) -> float:
    """Return the success on held-out starts of chunks chosen so."""
    found = rollout(Chooser(agent, how), tasks, list(evaluation_seeds(starts)))
    return float(np.mean([one.success for one in found]))

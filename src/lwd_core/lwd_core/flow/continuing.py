# SPDX-License-Identifier: Apache-2.0
"""Sample chunks that continue a running one: guided at run time, or as the policy was trained to.

Flow time w runs from 0 (noise) to 1 (action); everything here is in normalised units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lwd_core.chunks.continuation import Continuation, guidance_weights, TRAINED
from lwd_core.flow.sampler import Velocity


def guidance_scale(w: float, max_weight: float) -> float:
    """Return min(beta, ((1-w)/w) (w^2 + (1-w)^2) / (1-w)^2), the weight of the guidance at w."""
    if not 0.0 < w < 1.0:
        return max_weight
    return min(max_weight, (w * w + (1 - w) * (1 - w)) / (w * (1 - w)))


def guided_euler(velocity: Velocity, noise: Tensor, target: Tensor, weights: Tensor,
                 steps: int, max_weight: float = 0.0) -> Tensor:
    """Integrate the flow, pulled towards `target` [B, H, d] where `weights` [B, H] say.

    v + scale(w) J^T [weights (target - x1hat)] with x1hat = x + (1-w) v the flow's estimate of the
    clean chunk and J = d x1hat / dx: a true vector-Jacobian product through the network
    (Real-Time Chunking, arXiv 2506.07339, eq. 2 to 4). `max_weight` 0 takes `steps`.
    """
    if steps < 1:
        raise ValueError(f'flow steps {steps} must be >= 1')
    bound = max_weight or float(steps)
    x, h, pull = noise, 1.0 / steps, weights[..., None]
    for i in range(steps):
        w = i * h
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            v = velocity(at, noise.new_full((len(noise),), w))
            estimate = at + (1 - w) * v
            error = pull * (target - estimate.detach())
            (gradient,) = torch.autograd.grad(estimate, at, error)
        x = x + h * (v.detach() + guidance_scale(w, bound) * gradient)
    return x


def prefixed_euler(velocity: Velocity, noise: Tensor, target: Tensor, clean: Tensor,
                   steps: int) -> Tensor:
    """Integrate the flow with the rows that `clean` [B, H] marks given as in `target` [B, H, d].

    Training-time real-time chunking (arXiv 2512.05964): the given rows stand at flow time 1
    throughout; `velocity` must have been trained so.
    """
    if steps < 1:
        raise ValueError(f'flow steps {steps} must be >= 1')
    given, h = clean[..., None] > 0, 1.0 / steps
    x = torch.where(given, target, noise)
    for i in range(steps):
        x = x + h * velocity(x, noise.new_full((len(noise),), i * h))
        x = torch.where(given, target, x)
    return x


def sample_continuing(policy: Any, prefix: Tensor, noise: Tensor, steps: int,
                      continuations: Sequence[Continuation | None]) -> Tensor:
    """Return chunks [B, H, d] in robot units; row b continues `continuations[b]`, if there is one.

    Raises ValueError where the policy was not trained for what is asked, or kinds are mixed.
    """
    kinds = {(c.kind, c.max_weight) for c in continuations if c is not None}
    if not kinds:
        chunk: Tensor = policy.sample(prefix, noise, steps)
        return chunk
    if len(kinds) > 1:
        raise ValueError(f'one batch cannot mix continuations {sorted(kinds)}')
    ((kind, max_weight),) = kinds
    target, weights = _targets(policy, noise, continuations)
    if kind == TRAINED:
        told = policy.continuing(prefix, weights)
        x = prefixed_euler(lambda x, w: policy.velocity(told, x, w), noise, target, weights, steps)
    else:
        x = guided_euler(lambda x, w: policy.velocity(prefix, x, w), noise, target, weights, steps,
                         max_weight)
    chunk = policy.unnormalize_action(x)
    return chunk


def _targets(policy: Any, noise: Tensor, continuations: Sequence[Continuation | None]
             ) -> tuple[Tensor, Tensor]:
    """Return the rows to agree with [B, H, d], normalised, and their weights [B, H]."""
    target, weights = torch.zeros_like(noise), noise.new_zeros(noise.shape[:2])
    horizon = noise.shape[1]
    for row, item in enumerate(continuations):
        if item is None:
            continue
        rows = torch.from_numpy(item.rows[:horizon].copy()).to(noise)
        target[row, :len(rows)] = policy.normalize_action(rows)
        delay = min(item.delay, len(rows))
        if item.kind == TRAINED:
            weights[row, :min(delay, policy.max_delay)] = 1
        else:
            found = guidance_weights(horizon, delay, horizon - len(rows))
            weights[row] = torch.from_numpy(found).to(noise)
    return target, weights

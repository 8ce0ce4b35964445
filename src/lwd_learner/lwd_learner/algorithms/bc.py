# SPDX-License-Identifier: Apache-2.0
"""Behaviour cloning by flow matching: the SFT policy, and the reference that tracks replay.

x_w = (1 - w) x_0 + w x_1 with x_0 noise and x_1 the normalised chunk; the velocity target is
x_1 - x_0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from lwd_core.flow import Batch, FlowPolicy
from lwd_core.flow.protocol import ContinuingPolicy

LOSSES = ('velocity', 'action')
TIMES = ('uniform', 'beta')
INPUTS = ('joints', 'state', 'features', 'instruction', 'advantage')


@dataclass(frozen=True)
class BcConfig:
    """How to clone."""

    learning_rate: float = 3e-4
    tracking_rate: float = 0.0  # of a reference that tracks, while RL runs; 0: learning_rate
    weight_decay: float = 1e-4
    time: str = 'uniform'  # or 'beta': pi0's Beta(1.5, 1), more weight near the noise
    input_noise: float = 0.0  # std added to normalised joints and state: breaks copying
    loss: str = 'velocity'  # or 'action': errors weighted by max(1 - w, .1)^2, same minimiser
    draws: int = 1  # (noise, time) pairs per chunk: prefix shared, less variance

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f'BC loss {self.loss!r} is not one of {LOSSES}')
        if self.time not in TIMES:
            raise ValueError(f'BC time {self.time!r} is not one of {TIMES}')
        if self.draws < 1 or self.input_noise < 0 or self.learning_rate <= 0:
            raise ValueError('BC: draws >= 1, input_noise >= 0, learning_rate > 0 are needed')


def policy_inputs(batch: Batch) -> Batch:
    """Return the entries of a transition batch that a policy reads."""
    return {name: batch[name] for name in INPUTS if name in batch}


def jitter(inputs: Batch, policy: FlowPolicy, scale: float, generator: torch.Generator | None
           ) -> Batch:
    """Add noise of `scale` standard deviations to joints and state."""
    if scale <= 0:
        return inputs
    noisy = dict(inputs)
    for name in ('joints', 'state'):
        if name in inputs:
            std = getattr(policy, f'{name}_std')
            noisy[name] = inputs[name] + scale * std * randn_like(inputs[name], generator)
    return noisy


def randn_like(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return standard normal noise of the shape of `x`, from `generator` if one is given."""
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def sample_times(count: int, kind: str, generator: torch.Generator | None = None) -> Tensor:
    """Draw flow times [count] in [0, 1]."""
    uniform = torch.rand(count, generator=generator)
    # Beta(1.5, 1) has CDF t^1.5; in pi0 t runs from data (0) to noise (1)
    return uniform if kind == 'uniform' else 1 - uniform ** (1 / 1.5)


def flow_loss(policy: FlowPolicy, prefix: Tensor, action: Tensor, mask: Tensor, noise: Tensor,
              time: Tensor, given: Tensor | None = None) -> Tensor:
    """Return the per-sample flow-matching error [B], averaged over valid steps and dimensions.

    `action` [B, H, d] in robot units, `mask` [B, H] (1 = learn this step), `noise` [B, H, d],
    `time` [B]. Steps outside the mask hold the last valid action, so nothing leaks from them.
    Steps in `given` [B, H] are clean whatever the time, and are not learned.
    """
    target = policy.normalize_action(hold_masked(action, mask))
    x = (1 - time[:, None, None]) * noise + time[:, None, None] * target
    if given is not None:
        x = torch.where(given[..., None] > 0, target, x)
        mask = mask * (1 - given)
    error = (policy.velocity(prefix, x, time) - (target - noise)) ** 2
    weight = mask.to(error.dtype)[..., None]
    return (error * weight).sum((1, 2)) / (weight.sum((1, 2)) * error.shape[2]).clamp(min=1)


def given_steps(policy: FlowPolicy, chunk: Tensor, generator: torch.Generator | None = None
                ) -> Tensor | None:
    """Draw how many steps of each chunk a running one gives, as a mask [B, H], 1 = given.

    Training-time real-time chunking (arXiv 2512.05964), delays uniform in 0 to `max_delay`; None
    for a policy without it.
    """
    longest = int(getattr(policy, 'max_delay', 0))
    if not longest:
        return None
    delays = torch.randint(longest + 1, (len(chunk), 1), generator=generator)
    return (torch.arange(chunk.shape[1]) < delays).to(chunk)


def hold_masked(action: Tensor, mask: Tensor) -> Tensor:
    """Replace steps outside `mask` [B, H] of chunks [B, H, d] by the last valid step before."""
    steps = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    last = torch.where(mask > 0, steps, torch.zeros_like(steps)).cummax(1).values
    return action.gather(1, last[..., None].expand(action.shape))


def bc_loss(policy: FlowPolicy, batch: Batch, config: BcConfig, mask: str = 'imitate',
            weight: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
    """Return the mean flow-matching loss of a batch; samples without a valid step count nothing.

    `batch[mask]` [B, H] selects the steps, `weight` [B] scales samples.
    """
    inputs = jitter(policy_inputs(batch), policy, config.input_noise, generator)
    action, steps = batch['action'], batch[mask].to(batch['action'].dtype)
    prefix, n = policy.encode(inputs), config.draws
    prefix, chunk, valid = (x.repeat(n, *[1] * (x.ndim - 1)) for x in (prefix, action, steps))
    time = sample_times(len(chunk), config.time, generator).to(action.device)
    given = given_steps(policy, chunk, generator)
    if given is not None:
        prefix = cast(ContinuingPolicy, policy).continuing(prefix, given)
    loss = flow_loss(policy, prefix, chunk, valid, randn_like(chunk, generator), time, given)
    if config.loss == 'action':
        loss = loss * (1 - time).clamp(min=0.1) ** 2
    used = (steps.sum(1) > 0).to(loss.dtype)
    used = used if weight is None else used * weight
    return (loss * used.repeat(n)).sum() / (n * used.sum()).clamp(min=1e-6)

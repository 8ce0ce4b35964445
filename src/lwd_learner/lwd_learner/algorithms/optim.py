# SPDX-License-Identifier: Apache-2.0
"""One optimiser step, the same for every network: gradient, clip by global norm, AdamW."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn, Tensor


def adam(parameters: Iterable[nn.Parameter], rate: float, decay: float = 0.0) -> torch.optim.AdamW:
    """Return AdamW (Adam where `decay` is 0) in one kernel a step."""
    return torch.optim.AdamW(parameters, rate, weight_decay=decay, fused=True)


def step(optimizer: torch.optim.Optimizer, loss: Tensor, clip: float) -> float:
    """Step down the gradient of `loss`; as `descend`."""
    optimizer.zero_grad()
    loss.backward()
    return descend(optimizer, clip)


def descend(optimizer: torch.optim.Optimizer, clip: float) -> float:
    """Step down the gradients that are there, clipped to the global norm `clip`.

    Return the norm before. One that is not finite leaves the weights as they are, and the caller's
    limits stop the run.
    """
    norm = nn.utils.clip_grad_norm_(
        [p for group in optimizer.param_groups for p in group['params']], clip)
    value = float(norm)
    if value < float('inf'):  # False for NaN too
        optimizer.step()
    return value

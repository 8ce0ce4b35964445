# SPDX-License-Identifier: Apache-2.0
"""One optimiser step, the same for every network: gradient, clip by global norm, AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn, Tensor


def adam(parameters: Iterable[nn.Parameter], rate: float, decay: float = 0.0) -> torch.optim.AdamW:
    """Return AdamW (Adam where `decay` is 0) in one kernel a step."""
    return torch.optim.AdamW(parameters, rate, weight_decay=decay, fused=True)


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Differentiate through `modules`, not with respect to their weights.

    `torch.autograd.grad` of an input asks for no weight's gradient either, but layers with a
    backward of their own cannot tell and would compute it.
    """
    held = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


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

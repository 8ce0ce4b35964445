# SPDX-License-Identifier: Apache-2.0
"""Integrate a flow from noise to actions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]


def euler(velocity: Velocity, noise: Tensor, steps: int = 10) -> Tensor:
    """Take `steps` equal Euler steps of dx/dw = velocity(x, w), w from 0 to 1; shape [B, ...]."""
    if steps < 1:
        raise ValueError(f'flow steps {steps} must be >= 1')
    x, h = noise, 1.0 / steps
    for i in range(steps):
        x = x + h * velocity(x, noise.new_full((noise.shape[0],), i * h))
    return x


def chunk_noise(seed: int, horizon: int, action_dim: int) -> Tensor:
    """Return standard normal noise [1, H, d] that depends on nothing but `seed`."""
    generator = torch.Generator().manual_seed(int(seed) & (2 ** 63 - 1))
    return torch.randn(1, horizon, action_dim, generator=generator)

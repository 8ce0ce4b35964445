# SPDX-License-Identifier: Apache-2.0
"""IQL: a scalar V by expectile regression, the ablation of DIVL's law."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class IqlConfig:
    """Expectile levels, offline and online."""

    expectile_offline: float = 0.6
    expectile_online: float = 0.9

    def __post_init__(self) -> None:
        for name in ('expectile_offline', 'expectile_online'):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f'IQL {name} = {getattr(self, name)} must be in (0, 1)')


def expectile_loss(value: Tensor, q: Tensor, expectile: float) -> Tensor:
    """Return mean |expectile - 1(q < v)| (q - v)^2 for V [B] against detached `q` [B]."""
    error = q.detach() - value
    weight = (expectile - (error.detach() < 0).to(error.dtype)).abs()
    return (weight * error ** 2).mean()

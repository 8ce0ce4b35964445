# SPDX-License-Identifier: Apache-2.0
"""IQL: a scalar V by expectile regression; the ablation of DIVL's law, and a peer of its own.

As the ablation (`value: expectile`) it takes DIVL's place under QAM. As the peer
(`algorithm: iql`) the policy is cloned from all of the data with weights
exp(temperature (Q - V)), as in its paper (arXiv 2110.06169).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class IqlConfig:
    """Expectile levels, offline and online, and the extraction of the policy."""

    expectile_offline: float = 0.6
    expectile_online: float = 0.9
    temperature: float = 3.0  # of exp(temperature * advantage); IQL prints 3 to 10
    weight_max: float = 100.0  # larger weights are cut to this

    def __post_init__(self) -> None:
        for name in ('expectile_offline', 'expectile_online'):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f'IQL {name} = {getattr(self, name)} must be in (0, 1)')
        if self.temperature < 0 or self.weight_max <= 0:
            raise ValueError(f'IQL temperature {self.temperature} must be >= 0, weight_max '
                             f'{self.weight_max} > 0')


def expectile_loss(value: Tensor, q: Tensor, expectile: float) -> Tensor:
    """Return mean |expectile - 1(q < v)| (q - v)^2 for V [B] against detached `q` [B]."""
    error = q.detach() - value
    weight = (expectile - (error.detach() < 0).to(error.dtype)).abs()
    return (weight * error ** 2).mean()


def advantage_weights(q: Tensor, v: Tensor, config: IqlConfig) -> Tensor:
    """Return the cloning weights exp(temperature (q - v)) [B], cut at `weight_max`, detached."""
    return (config.temperature * (q - v).detach()).exp().clamp(max=config.weight_max)

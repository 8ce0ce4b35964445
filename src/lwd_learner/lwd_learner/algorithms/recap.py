# SPDX-License-Identifier: Apache-2.0
"""RECAP: a Monte-Carlo value, an advantage sign, and a policy conditioned on it.

Value = minus the steps to success, scaled per task to (-1, 0), as a law over 201 bins read by its
mean. A step is 'positive' when its advantage over a 50-step look-ahead is above the task's
threshold (about 40 % are) or when a person made it. The policy sees the sign, dropped 30 % of the
time, and acts on 'positive'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RecapConfig:
    """Constants of RECAP."""

    bins: int = 201
    look_ahead: int = 50  # control steps
    positive_share: float = 0.4
    drop: float = 0.3

    def __post_init__(self) -> None:
        if not (0 < self.positive_share < 1 and 0 <= self.drop < 1 and self.look_ahead >= 1):
            raise ValueError('RECAP: positive_share and drop are shares, look_ahead >= 1')


def returns(length: int, success: bool, limit: int) -> Floats:
    """Return the value targets [T] of one episode: -(steps left) / limit, -1 all over a failure."""
    if not success:
        return np.full(length, -1, np.float32)
    steps = np.arange(length - 1, -1, -1, dtype=np.float32)
    return np.maximum(-steps / limit, -1).astype(np.float32)


def advantages(value: Floats, target: Floats, look_ahead: int) -> Floats:
    """Return A_t = (G_t - G_{t+k}) + V(s_{t+k}) - V(s_t), or G_t - V(s_t) near the end; [T]."""
    ahead = np.arange(len(value)) + look_ahead
    inside = ahead < len(value)
    ahead = np.minimum(ahead, len(value) - 1)
    bootstrapped = target - target[ahead] + value[ahead]
    result: Floats = (np.where(inside, bootstrapped, target) - value).astype(np.float32)
    return result


def threshold(advantage: Floats, share: float) -> float:
    """Return the level that `share` of a task's advantages exceed."""
    return float(np.quantile(advantage, 1 - share))


def signs(advantage: Floats, level: float, human: npt.NDArray[np.bool_]) -> Floats:
    """Return +1 where the advantage is above `level` or a person acted, else -1; [T]."""
    return np.where(human | (advantage > level), 1, -1).astype(np.float32)


def drop_signs(sign: Tensor, drop: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero a share `drop` of the conditioning signs [B, 1]: the unconditioned mode."""
    keep = torch.rand(sign.shape, generator=generator) >= drop
    return sign * keep.to(sign.dtype)

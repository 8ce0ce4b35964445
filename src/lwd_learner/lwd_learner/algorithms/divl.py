# SPDX-License-Identifier: Apache-2.0
"""DIVL: distributional implicit value learning.

V(s) is the law of the *scalar* Q(s, a) over the replay's actions at s, held as K atoms. It is no
return distribution: nothing is backed up but one number, a quantile of V at the bootstrap state,
whose level falls where the law is uncertain (tau = tau_base - alpha * normalised entropy).
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

# cumulative sums of float32 probabilities miss ties (tau = CDF) by about this much
_TIE = 1e-6


@dataclass(frozen=True)
class DivlConfig:
    """Constants of DIVL with the paper's values; [C] marks our choice where it prints none."""

    atoms: int = 201
    low: float = -0.1
    high: float = 1.1
    tau_base_offline: float = 0.6
    tau_base_online: float = 0.9
    alpha: float = 0.3  # 0 gives a constant tau (the ablation)
    tau_min: float = 0.05  # [C]
    tau_max: float = 0.95  # [C]
    interpolate: bool = False  # mid-CDF interpolation instead of the first atom with CDF >= tau
    bound: bool = False  # what is bootstrapped from stays in [0, 1], where every return lies

    def __post_init__(self) -> None:
        if self.atoms < 2 or not self.low < self.high:
            raise ValueError(f'DIVL support: {self.atoms} atoms on [{self.low}, {self.high}]')
        if not 0 < self.tau_min <= self.tau_max < 1:
            raise ValueError(f'DIVL tau bounds {self.tau_min}, {self.tau_max} must be in (0, 1)')

    @property
    def spacing(self) -> float:
        """Distance between atoms."""
        return (self.high - self.low) / (self.atoms - 1)


def support(config: DivlConfig, like: Tensor) -> Tensor:
    """Return the atoms [K] on the device of `like`."""
    return torch.linspace(config.low, config.high, config.atoms, dtype=torch.float64,
                          device=like.device).to(like.dtype)


def project(q: Tensor, config: DivlConfig) -> Tensor:
    """Spread scalars `q` [B] over their two neighbouring atoms: probabilities [B, K].

    A q that is NaN gives a row with NaN, so that the loss says it.
    """
    position = (q.double().clamp(config.low, config.high) - config.low) / config.spacing
    position = position.clamp(0, config.atoms - 1)
    lower = position.nan_to_num().floor().clamp(max=config.atoms - 2).long()
    upper_mass = position - lower
    label = q.new_zeros(q.shape[0], config.atoms)
    label.scatter_(1, lower[:, None], (1 - upper_mass)[:, None].to(q.dtype))
    label.scatter_add_(1, lower[:, None] + 1, upper_mass[:, None].to(q.dtype))
    return label


def value_loss(logits: Tensor, q: Tensor, config: DivlConfig, weight: Tensor | None = None
               ) -> Tensor:
    """Cross entropy of V's `logits` [B, K] to the projected label of `q` [B], label detached."""
    loss = cross_entropy(logits, project(q.detach(), config), reduction='none')
    return loss.mean() if weight is None else (loss * weight).sum() / weight.sum().clamp(min=1e-6)


def normalized_entropy(probabilities: Tensor) -> Tensor:
    """Return entropy / log K in [0, 1], [B]."""
    return torch.special.entr(probabilities).sum(-1) / math.log(probabilities.shape[-1])


def adaptive_tau(probabilities: Tensor, tau_base: float, config: DivlConfig) -> Tensor:
    """Return the quantile level [B] for laws [B, K]: the more uncertain, the lower."""
    tau = tau_base - config.alpha * normalized_entropy(probabilities)
    return tau.clamp(config.tau_min, config.tau_max)


def quantile(probabilities: Tensor, tau: Tensor, config: DivlConfig) -> Tensor:
    """Read the `tau` [B] quantile of laws [B, K]: the first atom with CDF >= tau, or mid-CDF."""
    cdf = probabilities.double().cumsum(-1)
    atoms = support(config, cdf)
    level = tau.double()[:, None]
    if not config.interpolate:
        index = (cdf < level - _TIE).sum(-1).clamp(max=config.atoms - 1)
        return atoms[index].to(probabilities.dtype)
    middle = cdf - probabilities.double() / 2
    upper = (middle < level).sum(-1).clamp(1, config.atoms - 1)[:, None]
    below, above = middle.gather(1, upper - 1), middle.gather(1, upper)
    share = ((level - below) / (above - below).clamp(min=1e-12)).clamp(0, 1)
    value = atoms[upper - 1] + share * config.spacing
    return value[:, 0].to(probabilities.dtype)


@torch.no_grad()
def state_value(logits: Tensor, tau_base: float, config: DivlConfig) -> tuple[Tensor, Tensor]:
    """Return V's quantile [B] at the adaptive level and that level [B], both detached."""
    probabilities = logits.float().softmax(-1)
    tau = adaptive_tau(probabilities, tau_base, config)
    value = quantile(probabilities, tau, config)
    return value.clamp(0, 1) if config.bound else value, tau


def td_target(reward: Tensor, discount: Tensor, next_value: Tensor) -> Tensor:
    """Return y [B] = n-step reward + discount * value where the window ends, detached."""
    return (reward + discount * next_value).detach()


def q_loss(q: Tensor, target: Tensor) -> Tensor:
    """Return the squared error of every critic in `q` [C, B] to the same `target` [B]."""
    return ((q - target) ** 2).mean(1).sum()

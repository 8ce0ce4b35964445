# SPDX-License-Identifier: Apache-2.0
"""Critic networks: own encoder, a V head of K logits, Q heads over a pooled action chunk."""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any

import torch
from torch import nn, Tensor

from lwd_core.flow import Batch, FlowNetwork
from lwd_core.flow.linear import Linear

CHUNKS = ('attention', 'flat')
AGGREGATES = ('min', 'mean')
ACTIONS = ('absolute', 'relative')


@dataclass(frozen=True)
class CriticConfig:
    """Sizes and optimiser of the critics."""

    hidden: int = 512
    layers: int = 2
    ensemble: int = 2
    chunk: str = 'attention'  # masked attention pooling; 'flat': masked steps set to zero
    steps: int = 0  # rows of a chunk that Q is about: those executed before the next; 0: all
    action: str = 'absolute'  # 'relative': joint targets enter as their distance from the joints
    action_gain: float = 1.0  # ... times this: chunks of one state differ by little
    token: int = 64  # attention pooling: width of a step's token
    queries: int = 4  # attention pooling: learned queries
    aggregate: str = 'min'  # label of V: min or mean over the EMA ensemble
    gradient: str = 'mean'  # policy gradient: min or mean over the ensemble
    learning_rate: float = 5e-4
    weight_decay: float = 0.0
    dropout: float = 0.0  # on the heads' hidden layers: few episodes overfit fast
    input_noise: float = 0.0  # std added to normalised joints and state while training
    ema: float = 0.005
    ema_value: bool = False  # bootstrap from an EMA of V instead of the newest V
    target_gradient: bool = True  # policy gradient through the EMA critic
    gradient_clip: float = 1.0

    def __post_init__(self) -> None:
        if self.chunk not in CHUNKS:
            raise ValueError(f'critic chunk {self.chunk!r} is not one of {CHUNKS}')
        if self.action not in ACTIONS:
            raise ValueError(f'critic action {self.action!r} is not one of {ACTIONS}')
        if self.steps < 0 or self.action_gain <= 0:
            raise ValueError(f'critic: steps = {self.steps} must be >= 0 and action_gain = '
                             f'{self.action_gain} > 0')
        if self.aggregate not in AGGREGATES or self.gradient not in AGGREGATES:
            raise ValueError(f'critic aggregate and gradient must be of {AGGREGATES}')
        if self.ensemble < 1 or not 0 < self.ema <= 1:
            raise ValueError('critic: ensemble >= 1 and 0 < ema <= 1 are needed')


def mlp(size: int, hidden: int, layers: int, out: int, dropout: float = 0.0) -> nn.Sequential:
    """Return Linear-LayerNorm-SiLU blocks and a linear output."""
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [Linear(size, hidden), nn.LayerNorm(hidden), nn.SiLU()]
        if dropout > 0:
            parts.append(nn.Dropout(dropout))
        size = hidden
    return nn.Sequential(*parts, Linear(size, out))


class ChunkPool(nn.Module):
    """Attention pooling of a chunk's valid steps into one vector."""

    def __init__(self, horizon: int, action_dim: int, token: int, queries: int):
        """Build for chunks [B, H, d]."""
        super().__init__()
        self.embed = Linear(action_dim, token)
        self.position = nn.Parameter(torch.randn(horizon, token) * 0.1)
        self.mix = Linear(token, token)
        self.query = nn.Parameter(torch.randn(queries, token) / math.sqrt(token))
        self.size = token * queries

    def forward(self, chunk: Tensor, mask: Tensor) -> Tensor:
        """Pool `chunk` [B, H, d] over steps with `mask` [B, H] > 0 to [B, token * queries]."""
        tokens = nn.functional.silu(self.embed(chunk) + self.position)
        tokens = tokens + nn.functional.silu(self.mix(tokens))
        scores = tokens @ self.query.T  # [B, H, queries]
        scores = scores.masked_fill(mask[..., None] <= 0, -1e9)
        return (scores.softmax(1).transpose(1, 2) @ tokens).flatten(1)


class ObservationNet(nn.Module):
    """Observations in robot units to a readout feature, with an encoder of its own."""

    def __init__(self, policy: FlowNetwork, width: int, noise: float = 0.0):
        """Take input sizes and normalisation from `policy`; `noise` as CriticConfig.input_noise."""
        super().__init__()
        self.shape = dict(policy.config())
        self._clip, self._noise = float(self.shape['input_clip']), noise
        self.inputs = [name for name in ('joints', 'state', 'features')
                       if self.shape.get('joint_dim' if name == 'joints' else _size(name))]
        for name in self.inputs:
            self.register_buffer(f'{name}_mean', getattr(policy, f'{name}_mean').clone(), False)
            self.register_buffer(f'{name}_std', getattr(policy, f'{name}_std').clone(), False)
        size = sum(len(getattr(self, f'{name}_mean')) for name in self.inputs)
        size += int(self.shape['instruction_dim'])
        self.encoder = nn.Sequential(Linear(size, width), nn.LayerNorm(width), nn.SiLU())

    def encode(self, batch: Batch) -> Tensor:
        """Return the readout feature z [B, hidden]."""
        parts = []
        for name in self.inputs:
            x = (batch[name] - getattr(self, f'{name}_mean')) / getattr(self, f'{name}_std')
            if self.training and self._noise > 0 and name != 'features':
                x = x + self._noise * torch.randn_like(x)
            parts.append(x.clamp(-self._clip, self._clip))
        if self.shape['instruction_dim']:
            parts.append(batch['instruction'] * math.sqrt(self.shape['instruction_dim']) / 2)
        z: Tensor = self.encoder(torch.cat(parts, -1))
        return z


class Critic(ObservationNet):
    """Q heads and V over one encoder; actions enter normalised, observations in robot units."""

    action_mean: Tensor
    action_std: Tensor

    def __init__(self, policy: FlowNetwork, config: CriticConfig, atoms: int):
        """Take input sizes and normalisation from `policy`; `atoms` = 1 makes V a scalar."""
        super().__init__(policy, config.hidden, config.input_noise)
        self.config = config
        width, dim = config.hidden, int(self.shape['action_dim'])
        self.steps = horizon = _steps(config, self.shape)
        for name in ('action_mean', 'action_std'):
            self.register_buffer(name, getattr(policy, name).clone(), False)
        self.pool = (ChunkPool(horizon, dim, config.token, config.queries)
                     if config.chunk == 'attention' else None)
        chunk = self.pool.size if self.pool else horizon * dim
        self.value = mlp(width, width, config.layers, atoms, config.dropout)
        self.q = nn.ModuleList(mlp(width + chunk, width, config.layers, 1, config.dropout)
                               for _ in range(config.ensemble))

    def seen(self, batch: Batch, chunk: Tensor) -> Tensor:
        """Return what of normalised chunks [B, H, d] Q looks at, [B, steps, d]; differentiable."""
        chunk = chunk[:, :self.steps]
        if self.config.action == 'relative':
            here = (batch['joints'] - self.action_mean) / self.action_std
            chunk = chunk - here[:, None]
        return chunk * self.config.action_gain

    def logits(self, z: Tensor) -> Tensor:
        """Return V's logits [B, K] (or a scalar [B, 1])."""
        logits: Tensor = self.value(z)
        return logits

    def values(self, z: Tensor, chunk: Tensor, mask: Tensor) -> Tensor:
        """Return Q of every head [C, B] for chunks as `seen` [B, steps, d] and masks [B, H]."""
        mask = mask[:, :self.steps]
        if self.pool is not None:
            pooled = self.pool(chunk, mask)
        else:
            pooled = (chunk * mask[..., None]).flatten(1)
        joined = torch.cat((z, pooled), -1)
        return torch.stack([head(joined)[:, 0] for head in self.q])


def _steps(config: CriticConfig, shape: dict[str, Any]) -> int:
    """Return how many rows of a chunk Q sees; ValueError for what does not fit the policy."""
    horizon, joints, dim = (int(shape[name]) for name in ('horizon', 'joint_dim', 'action_dim'))
    if config.steps > horizon:
        raise ValueError(f'critic: steps = {config.steps}, but a chunk has {horizon}')
    if config.action == 'relative' and joints != dim:
        raise ValueError(f"critic: action 'relative' needs actions that are joint targets: "
                         f'{dim} actions, {joints} joints')
    return config.steps or horizon


def _size(name: str) -> str:
    return {'state': 'state_dim', 'features': 'feature_dim'}[name]


def aggregate(q: Tensor, how: str) -> Tensor:
    """Reduce [C, B] over the ensemble to [B]."""
    return q.min(0).values if how == 'min' else q.mean(0)


@torch.no_grad()
def ema_update(target: nn.Module, source: nn.Module, rate: float) -> None:
    """Move `target`'s weights towards `source` by `rate`."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), rate)

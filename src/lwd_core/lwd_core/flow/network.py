# SPDX-License-Identifier: Apache-2.0
"""What LWD's own flow networks share: configuration, inputs, normalisation, sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
import math
from typing import Any

import torch
from torch import nn, Tensor

from lwd_core.flow.linear import Linear
from lwd_core.flow.protocol import Batch
from lwd_core.flow.sampler import euler
from lwd_core.normalization import NormalizationError, Normalizer

PREDICTIONS = ('velocity', 'action')
NETWORKS = ('mlp', 'transformer')


@dataclass(frozen=True)
class FlowConfig:
    """The shape of a flow network; `state_dim` or `feature_dim` is 0 where that input is absent."""

    horizon: int = 16
    action_dim: int = 14
    joint_dim: int = 14
    state_dim: int = 0
    feature_dim: int = 0
    instruction_dim: int = 64
    hidden: int = 512
    layers: int = 3
    feature_width: int = 256  # learned projection of frozen features
    time_waves: int = 8  # sine and cosine pairs of pi k w
    input_clip: float = 10.0  # normalised inputs are clipped to this: no far extrapolation
    advantage: bool = False  # RECAP: condition on an advantage sign
    # 'action': the net predicts the clean chunk and velocity = (chunk - x) / max(1 - w, floor).
    # Learns near-deterministic chunks in far fewer steps, and bounds the stiffness near w = 1.
    prediction: str = 'velocity'
    time_floor: float = 0.1  # at most the Euler step: the last step then lands on the prediction
    kind: str = 'flow_mlp'
    network: str = 'mlp'  # or 'transformer': one token a control step, `layers` blocks of `hidden`
    heads: int = 4  # of the transformer; divides `hidden`
    prefix_tokens: int = 8  # of the transformer: what its actions attend to besides each other
    max_delay: int = 0  # rows of a running chunk it is trained to continue; 0: not trained so

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f'flow policy: network {self.network!r} is not one of {NETWORKS}')
        if self.prediction not in PREDICTIONS:
            raise ValueError(
                f'flow policy: prediction {self.prediction!r} is not one of {PREDICTIONS}')
        if not 0 < self.time_floor <= 1:
            raise ValueError(f'flow policy: time_floor {self.time_floor} must be in (0, 1]')
        for name in ('horizon', 'action_dim', 'joint_dim', 'hidden', 'layers', 'time_waves',
                     'heads', 'prefix_tokens'):
            if getattr(self, name) < 1:
                raise ValueError(f'flow policy: {name} = {getattr(self, name)} must be >= 1')
        if self.state_dim < 0 or self.feature_dim < 0 or self.instruction_dim < 0:
            raise ValueError('flow policy: input sizes must be >= 0')
        if not 0 <= self.max_delay < self.horizon:
            raise ValueError(f'flow policy: max_delay = {self.max_delay} must be 0 to horizon - 1, '
                             f'which is {self.horizon - 1}')
        if self.network == 'transformer' and self.hidden % self.heads:
            raise ValueError(f'flow policy: hidden = {self.hidden} is not a multiple of heads, '
                             f'which is {self.heads}')

    @property
    def inputs(self) -> dict[str, int]:
        """Return the normalised observation inputs and their sizes, in concatenation order."""
        sizes = {'joints': self.joint_dim, 'state': self.state_dim, 'features': self.feature_dim}
        return {name: size for name, size in sizes.items() if size}


class FlowNetwork(nn.Module):
    """Base of the flow networks: the observation enters once as a prefix, then velocities."""

    waves: Tensor
    action_mean: Tensor
    action_std: Tensor
    encoder: nn.Module

    def __init__(self, config: FlowConfig, norms: Mapping[str, Normalizer]):
        """Build from shapes and the normalisers 'action' [d] and one for each input."""
        super().__init__()
        self._config = config
        self._norms = _checked(config, norms)
        self.horizon, self.action_dim = config.horizon, config.action_dim
        self.max_delay = config.max_delay
        for name, norm in self._norms.items():
            self.register_buffer(f'{name}_mean', torch.from_numpy(norm.mean.copy()), False)
            self.register_buffer(f'{name}_std', torch.from_numpy(norm.std.copy()), False)
        self.register_buffer('waves', math.pi * torch.arange(1, config.time_waves + 1).float(),
                             False)
        self._build()
        if config.max_delay:
            self.given_in = Linear(config.horizon, self.prefix_dim, bias=False)
            nn.init.zeros_(self.given_in.weight)  # untrained it says nothing

    def _build(self) -> None:
        """Make the layers."""
        raise NotImplementedError

    def velocity(self, prefix: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """Return dx/dw [B, H, d] at normalised `x` [B, H, d], `w` [B]."""
        raise NotImplementedError

    @property
    def prefix_dim(self) -> int:
        """Return P, the length of a prefix."""
        raise NotImplementedError

    def _make_encoder(self) -> nn.Sequential:
        """Return the layers from the concatenated inputs to the prefix."""
        c = self._config
        size = c.joint_dim + c.state_dim + c.instruction_dim + int(c.advantage)
        if c.feature_dim:
            self.feature_in = Linear(c.feature_dim, c.feature_width)
            size += c.feature_width
        return nn.Sequential(
            Linear(size, c.hidden), nn.SiLU(), Linear(c.hidden, self.prefix_dim))

    def _normalized(self, name: str, value: Tensor) -> Tensor:
        clip = self._config.input_clip
        scaled = (value - getattr(self, f'{name}_mean')) / getattr(self, f'{name}_std')
        return scaled.clamp(-clip, clip)

    def encode(self, batch: Batch) -> Tensor:
        """Return the prefix [B, P]."""
        c = self._config
        parts = [self._normalized('joints', batch['joints'])]
        if c.state_dim:
            parts.append(self._normalized('state', batch['state']))
        if c.feature_dim:
            features = self._normalized('features', batch['features'])
            parts.append(nn.functional.silu(self.feature_in(features)))
        if c.instruction_dim:  # unit vectors: scaled to about unit variance a dimension
            parts.append(batch['instruction'] * math.sqrt(c.instruction_dim) / 2)
        if c.advantage:
            given = batch.get('advantage')
            parts.append(torch.ones_like(parts[0][:, :1]) if given is None else given)
        prefix: Tensor = self.encoder(torch.cat(parts, -1))
        return prefix

    def continuing(self, prefix: Tensor, given: Tensor) -> Tensor:
        """Return the prefix [B, P] that also says which rows of x are given, [B, H], 0 or 1.

        Raises ValueError where the network was not built for it.
        """
        if not self.max_delay:
            raise ValueError('flow policy: max_delay = 0: it was not trained to continue a chunk')
        told: Tensor = prefix + self.given_in(given)
        return told

    def _time_features(self, w: Tensor) -> Tensor:
        """Return sines and cosines [B, 2 * time_waves] of flow times `w` [B].

        One row, to be broadcast, where `w` is one time expanded to all samples.
        """
        if w.stride(0) == 0:
            w = w[:1]
        angle = w[:, None] * self.waves
        return torch.cat((angle.sin(), angle.cos()), -1)

    def _as_velocity(self, out: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """Read the net's output [B, H, d] as the configuration's `prediction` says."""
        if self._config.prediction == 'velocity':
            return out
        left = (1 - w).clamp(min=self._config.time_floor)
        return (out - x) / left[:, None, None]

    def sample(self, prefix: Tensor, noise: Tensor, steps: int = 10) -> Tensor:
        """Integrate `noise` [B, H, d] to chunks in robot units with Euler steps."""
        return self.unnormalize_action(
            euler(lambda x, w: self.velocity(prefix, x, w), noise, steps))

    def normalize_action(self, action: Tensor) -> Tensor:
        """Map [..., d] from robot units to normalised units."""
        return (action - self.action_mean) / self.action_std

    def unnormalize_action(self, x: Tensor) -> Tensor:
        """Map [..., d] from normalised units to robot units."""
        return x * self.action_std + self.action_mean

    def config(self) -> dict[str, Any]:
        """Return the arguments of `make_policy`."""
        return asdict(self._config)

    def normalization(self) -> dict[str, Any]:
        """Return the normalisers as JSON data."""
        return {name: norm.to_json() for name, norm in self._norms.items()}


def _checked(config: FlowConfig, norms: Mapping[str, Normalizer]) -> dict[str, Normalizer]:
    sizes = {**config.inputs, 'action': config.action_dim}
    for name, size in sizes.items():
        if name not in norms:
            raise NormalizationError(f'no normalisation for {name!r} (have {sorted(norms)})')
        if norms[name].size != size:
            raise NormalizationError(
                f'normalisation of {name!r} has {norms[name].size} dimensions, the policy {size}')
    return {name: norms[name] for name in sizes}

# SPDX-License-Identifier: Apache-2.0
"""A reference flow plus a learned tilt: velocity = base + tilt, tilt zero at first.

What learning adds stays apart from what imitation gave, so the base can keep tracking new data
and the policy follows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn, Tensor

from lwd_core.flow.network import FlowConfig, FlowNetwork
from lwd_core.flow.protocol import Batch
from lwd_core.flow.sampler import euler
from lwd_core.normalization import Normalizer

KIND = 'flow_residual'


class ResidualFlow(nn.Module):
    """The sum of two flow networks of one kind over the same inputs."""

    def __init__(self, base: FlowNetwork, tilt: FlowNetwork):
        """Compose; both must have the same inputs, horizon and normalisation."""
        super().__init__()
        self.base, self.tilt = base, tilt
        self.horizon, self.action_dim = base.horizon, base.action_dim
        self.max_delay = base.max_delay
        self._split = base.prefix_dim

    @classmethod
    def over(cls, base: FlowNetwork, hidden: int, layers: int) -> ResidualFlow:
        """Return `base` with a fresh tilt of the given size, zero everywhere."""
        config = FlowConfig(**{**base.config(), 'hidden': hidden, 'layers': layers,
                               'prediction': 'velocity'})
        norms = {k: Normalizer.from_json(v) for k, v in base.normalization().items()}
        tilt = type(base)(config, norms)
        out = tilt.get_submodule('out')
        for parameter in out.parameters():
            nn.init.zeros_(parameter)
        return cls(base, tilt)

    def encode(self, batch: Batch) -> Tensor:
        """Return both prefixes side by side [B, P]."""
        return torch.cat((self.base.encode(batch), self.tilt.encode(batch)), -1)

    def continuing(self, prefix: Tensor, given: Tensor) -> Tensor:
        """Return the prefix [B, P] that also says which rows of x are given, [B, H], 0 or 1."""
        base, tilt = prefix[:, :self._split], prefix[:, self._split:]
        return torch.cat((self.base.continuing(base, given), self.tilt.continuing(tilt, given)), -1)

    def velocity(self, prefix: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """Return dx/dw [B, H, d] at normalised `x` [B, H, d], `w` [B]."""
        base, tilt = prefix[:, :self._split], prefix[:, self._split:]
        return self.base.velocity(base, x, w) + self.tilt.velocity(tilt, x, w)

    def sample(self, prefix: Tensor, noise: Tensor, steps: int = 10) -> Tensor:
        """Integrate `noise` [B, H, d] to chunks in robot units with Euler steps."""
        return self.unnormalize_action(
            euler(lambda x, w: self.velocity(prefix, x, w), noise, steps))

    def normalize_action(self, action: Tensor) -> Tensor:
        """Map [..., d] from robot units to normalised units."""
        return self.base.normalize_action(action)

    def unnormalize_action(self, x: Tensor) -> Tensor:
        """Map [..., d] from normalised units to robot units."""
        return self.base.unnormalize_action(x)

    def config(self) -> dict[str, Any]:
        """Return the arguments of `make_policy`: the base's, with the tilt's size."""
        tilt = self.tilt.config()
        return {**self.base.config(), 'kind': KIND, 'tilt_hidden': tilt['hidden'],
                'tilt_layers': tilt['layers']}

    def normalization(self) -> dict[str, Any]:
        """Return the normalisers as JSON data."""
        return self.base.normalization()


def build_residual(config: Mapping[str, Any], norms: Mapping[str, Normalizer],
                   build: Callable[[FlowConfig, Mapping[str, Normalizer]], FlowNetwork],
                   ) -> ResidualFlow:
    """Build from what `ResidualFlow.config` returned; `build` makes the base's network."""
    base = {k: v for k, v in config.items() if not k.startswith('tilt_')}
    flow = build(FlowConfig(**{**base, 'kind': 'flow_mlp'}), norms)
    return ResidualFlow.over(flow, int(config['tilt_hidden']), int(config['tilt_layers']))

# SPDX-License-Identifier: Apache-2.0
"""A flow policy small enough to train and run on a CPU: an MLP over the flattened chunk."""

from __future__ import annotations

from torch import nn, Tensor

from lwd_core.flow.linear import Linear
from lwd_core.flow.network import FlowConfig, FlowNetwork

__all__ = ['FlowConfig', 'FlowMLP']


class FlowMLP(FlowNetwork):
    """Flow MLP: the prefix is added to the first layer's activation."""

    def _build(self) -> None:
        c = self._config
        width, flat = c.hidden, c.horizon * c.action_dim
        self.encoder = self._make_encoder()
        self.chunk_in = Linear(flat, width, bias=False)
        self.time_in = Linear(2 * c.time_waves, width, bias=False)
        self.trunk = nn.ModuleList(Linear(width, width) for _ in range(c.layers - 1))
        self.out = Linear(width, flat)

    @property
    def prefix_dim(self) -> int:
        """Return P, the length of a prefix."""
        return self._config.hidden

    def velocity(self, prefix: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """Return dx/dw [B, H, d] at normalised `x` [B, H, d], `w` [B]."""
        hidden = prefix + self.chunk_in(x.flatten(1)) + self.time_in(self._time_features(w))
        hidden = nn.functional.silu(hidden)
        for layer in self.trunk:
            hidden = hidden + nn.functional.silu(layer(hidden))
        return self._as_velocity(self.out(hidden).view(x.shape), x, w)

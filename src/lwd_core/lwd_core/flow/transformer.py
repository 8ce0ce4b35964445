# SPDX-License-Identifier: Apache-2.0
"""A transformer action expert: one token a control step, as in pi0's action expert.

Action tokens attend to each other and to the prefix tokens, which are computed once per
observation. The flow time enters every block by adaptive layer norm (DiT, arXiv 2212.09748).
About 16 `layers` `hidden`^2 weights: `hidden` 256 and 4 layers are five million.
"""

from __future__ import annotations

import math

import torch
from torch import nn, Tensor

from lwd_core.flow.linear import Linear
from lwd_core.flow.network import FlowNetwork

MLP_RATIO = 4


class Block(nn.Module):
    """Attention over prefix and action tokens, then a two-layer MLP; both pre-normalised."""

    def __init__(self, width: int, heads: int, layers: int):
        """Build one of `layers` blocks; residual outputs start small so that depth adds up to 1."""
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = Linear(width, 4 * width)
        self.query = Linear(width, width)
        self.key_value = Linear(width, 2 * width)
        self.attention_out = Linear(width, width)
        self.mlp_in = Linear(width, MLP_RATIO * width)
        self.mlp_out = Linear(MLP_RATIO * width, width)
        for layer in (self.attention_out, self.mlp_out):
            nn.init.normal_(layer.weight, std=layer.in_features ** -0.5 / math.sqrt(2 * layers))
            nn.init.zeros_(layer.bias)

    def forward(self, actions: Tensor, prefix: Tensor, time: Tensor) -> Tensor:
        """Map action tokens [B, H, W], given prefix tokens [B, T, W] and flow time [B, W]."""
        shift_a, scale_a, shift_m, scale_m = self.modulation(time)[:, None].chunk(4, -1)
        normed = self.norm_attention(actions) * (1 + scale_a) + shift_a
        actions = actions + self._attend(normed, prefix)
        normed = self.norm_mlp(actions) * (1 + scale_m) + shift_m
        hidden = nn.functional.gelu(self.mlp_in(normed), approximate='tanh')
        out: Tensor = actions + self.mlp_out(hidden)
        return out

    def _attend(self, actions: Tensor, prefix: Tensor) -> Tensor:
        batch, horizon, width = actions.shape
        key, value = self.key_value(torch.cat((prefix, actions), 1)).chunk(2, -1)
        query, key, value = (self._split(part) for part in (self.query(actions), key, value))
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.attention_out(mixed.transpose(1, 2).reshape(batch, horizon, width))
        return out

    def _split(self, tokens: Tensor) -> Tensor:
        """Return [B, heads, tokens, W / heads]."""
        batch, count, width = tokens.shape
        return tokens.view(batch, count, self.heads, width // self.heads).transpose(1, 2)


class FlowTransformer(FlowNetwork):
    """Flow transformer over the chunk's rows."""

    def _build(self) -> None:
        c = self._config
        self.encoder = self._make_encoder()
        self.prefix_norm = nn.LayerNorm(c.hidden)
        self.chunk_in = Linear(c.action_dim, c.hidden)
        self.position = nn.Parameter(0.02 * torch.randn(c.horizon, c.hidden))
        self.time_in = nn.Sequential(
            Linear(2 * c.time_waves, c.hidden), nn.SiLU(), Linear(c.hidden, c.hidden),
            nn.SiLU())
        self.blocks = nn.ModuleList(Block(c.hidden, c.heads, c.layers) for _ in range(c.layers))
        self.out_norm = nn.LayerNorm(c.hidden)
        self.out = Linear(c.hidden, c.action_dim)

    @property
    def prefix_dim(self) -> int:
        """Return P, the length of a prefix: its tokens side by side."""
        return self._config.prefix_tokens * self._config.hidden

    def velocity(self, prefix: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """Return dx/dw [B, H, d] at normalised `x` [B, H, d], `w` [B]."""
        c = self._config
        tokens = self.prefix_norm(prefix.view(-1, c.prefix_tokens, c.hidden))
        time = self.time_in(self._time_features(w))
        actions = self.chunk_in(x) + self.position
        for block in self.blocks:
            actions = block(actions, tokens, time)
        return self._as_velocity(self.out(self.out_norm(actions)), x, w)

# SPDX-License-Identifier: Apache-2.0
"""What every flow policy offers to the robot and to the learner."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

# 'joints' [B, J], 'state' [B, S] (state mode), 'features' [B, F] (pixels), 'instruction' [B, E],
# all float32 in robot units; optional 'advantage' [B, 1] in {-1, 0, 1} (0 = not given).
Batch = dict[str, Tensor]


class FlowPolicy(Protocol):
    """A velocity field over action chunks; flow time w runs from 0 (noise) to 1 (action).

    Normalisation happens inside: `velocity` works on normalised chunks, `sample` returns robot
    units.
    """

    horizon: int
    action_dim: int

    def encode(self, batch: Batch) -> Tensor:
        """Turn observations into the prefix [B, P], computed once per state."""

    def velocity(self, prefix: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """Return dx/dw [B, H, d] at the normalised chunk `x` [B, H, d] and flow time `w` [B]."""

    def sample(self, prefix: Tensor, noise: Tensor, steps: int = 10) -> Tensor:
        """Integrate `noise` [B, H, d] to chunks in robot units."""

    def normalize_action(self, action: Tensor) -> Tensor:
        """Map chunks [..., d] from robot units to the units of `velocity`."""

    def unnormalize_action(self, x: Tensor) -> Tensor:
        """Invert `normalize_action`."""

    def config(self) -> dict[str, Any]:
        """Return what `make_policy` needs to build this policy again."""

    def normalization(self) -> dict[str, Any]:
        """Return the normalisers as JSON data, by input name."""


class ContinuingPolicy(FlowPolicy, Protocol):
    """A flow policy that can be trained to continue the rows of a running chunk."""

    max_delay: int  # the most rows it was trained to continue; 0: none

    def continuing(self, prefix: Tensor, given: Tensor) -> Tensor:
        """Return the prefix that also says which rows of x are given: [B, H], 0 or 1.

        Raises ValueError where `max_delay` is 0.
        """

# SPDX-License-Identifier: Apache-2.0
"""A policy as the robot uses it: observation and seed in, action chunk out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lwd_core.flow.factory import Policy
from lwd_core.flow.inputs import FeatureTrunk, observation_to_batch
from lwd_core.flow.protocol import Batch
from lwd_core.flow.sampler import chunk_noise

if TYPE_CHECKING:
    from lwd_core.observation import Observation


class ActingPolicy:
    """Deterministic inference: the chunk depends on observation, seed and weights only."""

    def __init__(self, policy: Policy, steps: int = 10, noise_scale: float = 1.0,
                 trunk: FeatureTrunk | None = None):
        """Wrap `policy`; `noise_scale` < 1 draws the initial noise nearer to the flow's centre."""
        self.policy = policy.eval().requires_grad_(False)
        self.steps = steps
        self.noise_scale = noise_scale
        self.trunk = trunk

    @property
    def horizon(self) -> int:
        """Control steps in a chunk."""
        return self.policy.horizon

    def act(self, observation: Observation, seed: int) -> npt.NDArray[np.float32]:
        """Return the action chunk float32 [H, d] in robot units."""
        return self.act_batch(observation_to_batch(observation, self.policy, self.trunk), [seed])[0]

    @torch.inference_mode()
    def act_batch(self, batch: Batch, seeds: list[int]) -> npt.NDArray[np.float32]:
        """Return chunks float32 [B, H, d]; row i uses `seeds[i]`."""
        noise = torch.cat([self._noise(seed) for seed in seeds])
        chunk = self.policy.sample(self.policy.encode(batch), noise, self.steps)
        return np.asarray(chunk.numpy(), np.float32)

    def _noise(self, seed: int) -> Tensor:
        return chunk_noise(seed, self.policy.horizon, self.policy.action_dim) * self.noise_scale

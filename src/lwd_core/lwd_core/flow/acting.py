# SPDX-License-Identifier: Apache-2.0
"""A policy as the robot uses it: observation and seed in, action chunk out."""

from __future__ import annotations

from collections.abc import Sequence
import time
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lwd_core.chunks.continuation import Continuation, GUIDED, TRAINED
from lwd_core.flow.continuing import sample_continuing
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
        self.seconds: dict[str, float] = {}  # what the newest chunk took, by section

    @property
    def horizon(self) -> int:
        """Control steps in a chunk."""
        return self.policy.horizon

    @property
    def continues(self) -> tuple[str, ...]:
        """The kinds of continuation this policy offers."""
        return (GUIDED, TRAINED) if self.policy.max_delay else (GUIDED,)

    def act(self, observation: Observation, seed: int,
            continuation: Continuation | None = None) -> npt.NDArray[np.float32]:
        """Return the action chunk float32 [H, d] in robot units."""
        started = time.perf_counter()
        batch = observation_to_batch(observation, self.policy, self.trunk)
        chunk = self.act_batch(batch, [seed], [continuation])[0]
        # Images to features are part of the encoding; only sampling depends on the flow steps.
        self.seconds['encode'] = time.perf_counter() - started - self.seconds['sample']
        return chunk

    # Not inference_mode: guidance differentiates through the network.
    @torch.no_grad()
    def act_batch(self, batch: Batch, seeds: list[int],
                  continuations: Sequence[Continuation | None] = ()) -> npt.NDArray[np.float32]:
        """Return chunks float32 [B, H, d]; row i uses `seeds[i]` and `continuations[i]`, if any."""
        noise = torch.cat([self._noise(seed) for seed in seeds])
        prefix = self.policy.encode(batch)
        started = time.perf_counter()
        chunk = sample_continuing(self.policy, prefix, noise, self.steps, continuations)
        actions = np.asarray(chunk.numpy(), np.float32)
        self.seconds['sample'] = time.perf_counter() - started
        return actions

    def _noise(self, seed: int) -> Tensor:
        return chunk_noise(seed, self.policy.horizon, self.policy.action_dim) * self.noise_scale

# SPDX-License-Identifier: Apache-2.0
"""A policy as the robot uses it: observation and seed in, action chunk out."""

from __future__ import annotations

from collections.abc import Sequence
import time
from typing import Any, Protocol, TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lwd_core.chunks.continuation import Continuation, GUIDED, TRAINED
from lwd_core.flow.continuing import sample_continuing
from lwd_core.flow.export import ChunkSampler
from lwd_core.flow.factory import Policy
from lwd_core.flow.inputs import observation_to_batch
from lwd_core.flow.protocol import Batch
from lwd_core.flow.sampler import chunk_noise
from lwd_core.flow.trunk import KeypointTrunk

if TYPE_CHECKING:
    from lwd_core.observation import Observation


class Engine(Protocol):
    """What computes one chunk; made for one policy."""

    name: str

    def run(self, arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Return the chunk float32 [H, d] of the arrays of `ChunkSampler.arrays`."""


class ActingPolicy:
    """Deterministic inference: the chunk depends on observation, seed and weights only."""

    def __init__(self, policy: Policy, steps: int = 10, noise_scale: float = 1.0,
                 trunk: KeypointTrunk | None = None):
        """Wrap `policy`; `noise_scale` < 1 draws the initial noise nearer to the flow's centre."""
        self.policy = policy.eval().requires_grad_(False)
        self.steps = steps
        self.noise_scale = noise_scale
        self.trunk = trunk
        self.seconds: dict[str, float] = {}  # what the newest chunk took, by section
        self._engine: tuple[ChunkSampler, Engine] | None = None

    def sampler(self) -> ChunkSampler:
        """Return the policy as one module, to be exported or compiled."""
        return ChunkSampler(self.policy, self.trunk, self.steps, self.noise_scale)

    def use(self, sampler: ChunkSampler, engine: Engine) -> None:
        """Let `engine`, made from `sampler`, compute what `act` needs no gradients for."""
        self._engine = (sampler, engine)

    @property
    def horizon(self) -> int:
        """Control steps in a chunk."""
        return self.policy.horizon

    @property
    def continues(self) -> tuple[str, ...]:
        """The kinds of continuation this policy offers."""
        return (GUIDED, TRAINED) if getattr(self.policy, 'max_delay', 0) else (GUIDED,)

    def act(self, observation: Observation, seed: int,
            continuation: Continuation | None = None) -> npt.NDArray[np.float32]:
        """Return the action chunk float32 [H, d] in robot units."""
        started = time.perf_counter()
        if self._engine is not None and continuation is None:
            sampler, engine = self._engine
            arrays = sampler.arrays(observation, seed)
            self.seconds['encode'] = time.perf_counter() - started
            chunk = engine.run(arrays)
            self.seconds['sample'] = time.perf_counter() - started - self.seconds['encode']
            return chunk
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

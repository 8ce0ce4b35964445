# SPDX-License-Identifier: Apache-2.0
"""What every backend offers, and how it is checked and timed against eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lwd_core.flow.export import ChunkSampler

Arrays = dict[str, npt.NDArray[Any]]
# How far a backend's chunk may be from eager PyTorch's: largest difference over CHECKS random
# observations, in standard deviations of each action dimension. Float32 sums in another order
# differ by 1e-7 a term, and the flow's last steps amplify that up to tenfold; a wrong weight, a
# bfloat16 kernel or a mistranslated operator is orders beyond.
BOUND = 1e-4
CHECKS = 4


class BackendError(RuntimeError):
    """A backend that does not compute this policy; the message says why."""


class BackendUnavailableError(BackendError):
    """A backend that this machine does not have; the message says what is missing."""


class BackendDiffersError(BackendError):
    """A backend whose chunks are not eager's: says something of these weights, not of others."""


class Engine(Protocol):
    """One policy, ready to compute."""

    name: str

    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Return the chunk float32 [H, d] of the arrays that `ChunkSampler.arrays` gives."""


Builder = Callable[[ChunkSampler, int], Engine]


def difference(engine: Engine, reference: Engine, sampler: ChunkSampler) -> float:
    """Return how far two engines differ, in standard deviations of the actions."""
    std = np.asarray(sampler.policy.normalization()['action']['std'], np.float64)
    worst = 0.0
    for seed in range(CHECKS):
        arrays = sampler.example(seed)
        gap = engine.run(arrays).astype(np.float64) - reference.run(arrays)
        if not np.isfinite(gap).all():
            return float('inf')
        worst = max(worst, float(np.abs(gap / std).max()))
    return worst


def check(engine: Engine, reference: Engine, sampler: ChunkSampler) -> float:
    """Return the difference from `reference`; BackendDiffersError if it is beyond BOUND."""
    gap = difference(engine, reference, sampler)
    if not gap <= BOUND:
        raise BackendDiffersError(
            f'differs from eager by {gap:.2g} standard deviations, bound {BOUND:g}')
    return gap


def seconds(engine: Engine, arrays: Arrays, runs: int = 10,
            clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the shortest time of one chunk [s], after two runs that do not count.

    The shortest: what else the machine does makes any run longer, and none shorter.
    """
    taken = []
    for _ in range(runs + 2):
        started = clock()
        engine.run(arrays)
        taken.append(clock() - started)
    return min(taken[2:])

# SPDX-License-Identifier: Apache-2.0
"""Plan while the running chunk is executed, and fade from it to the next one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lwd_core.chunking import Chunk, Synchronous
from lwd_core.chunks.continuation import soft_weights

BLENDS = ('linear', 'exponential')


class Overlapped(Synchronous):
    """Synchronous, but the next chunk fades in over `blend_steps` ticks (temporal blending).

    Averaging hides the seam and costs truth: half of one plan and half of another may be neither.
    Real-time chunking is the scheduler that makes the plans agree instead.
    """

    def __init__(self, execute_steps: int = 8, lookahead: int = 0, overrun: bool = False,
                 blend: str = 'linear', blend_steps: int = 4) -> None:
        if blend not in BLENDS:
            raise ValueError(f'blend: is {blend!r}, must be one of {", ".join(BLENDS)}')
        if blend_steps < 1:
            raise ValueError(f'blend_steps: is {blend_steps}, must be at least 1')
        super().__init__(execute_steps, lookahead, overrun)
        self.blend = blend
        self.blend_steps = blend_steps

    def _joined(self, chunk: Chunk, start: int) -> Chunk:
        """Fade from what would have been executed to `chunk`, from row `start` on."""
        running, joined = self._chunk, super()._joined(chunk, start)
        if running is None:
            return joined
        old = running.actions[chunk.tick - running.tick:][start:start + self.blend_steps]
        new = joined.actions[start:start + len(old)]
        weight = fade(len(old), self.blend)[:len(new), None]
        actions = joined.actions.copy()
        actions[start:start + len(new)] = weight * old[:len(new)] + (1 - weight) * new
        return replace(joined, actions=actions)


def fade(steps: int, blend: str) -> NDArray[np.float32]:
    """Return the weight of the old chunk in each of `steps` blended ticks, falling from 1 to 0."""
    linear = (steps - np.arange(steps)) / (steps + 1)
    return np.asarray(linear if blend == 'linear' else soft_weights(0, steps), np.float32)

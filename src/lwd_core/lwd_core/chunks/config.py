# SPDX-License-Identifier: Apache-2.0
"""Which scheduler plays the chunks, with which numbers: one choice for robot and simulator."""

from __future__ import annotations

from dataclasses import dataclass

from lwd_core.chunking import ChunkScheduler, Synchronous
from lwd_core.chunks.continuation import GUIDED, TRAINED
from lwd_core.chunks.overlapped import BLENDS, Overlapped
from lwd_core.chunks.realtime import RealTime

SCHEDULERS = ('synchronous', 'overlapped', 'rtc', 'rtc_trained')


@dataclass(frozen=True)
class Chunking:
    """How chunks are played; see docs/control.md."""

    scheduler: str = 'synchronous'
    execute_steps: int = 8  # ticks of a chunk before the next one
    lookahead: int = 1  # ticks before that at which the next one is asked for
    overrun: bool = False  # execute further rows while the next chunk is late
    blend: str = 'linear'  # overlapped: how the old chunk fades
    blend_steps: int = 4  # overlapped: over how many ticks
    max_weight: float = 0.0  # rtc: bound of the guidance; 0: the number of flow steps

    def __post_init__(self) -> None:
        if self.scheduler not in SCHEDULERS:
            raise ValueError(f'scheduler: is {self.scheduler!r}, must be one of '
                             f'{", ".join(SCHEDULERS)}')
        if self.max_weight < 0:
            raise ValueError(f'max_weight: is {self.max_weight}, must be at least 0')

    @property
    def continuation(self) -> str:
        """Return the kind of continuation that the policy must offer, '' for none."""
        return {'rtc': GUIDED, 'rtc_trained': TRAINED}.get(self.scheduler, '')

    @property
    def min_horizon(self) -> int:
        """Return the shortest chunk that can be played so."""
        return self.execute_steps + (self.lookahead if self.continuation else 0)


def make_scheduler(chunking: Chunking) -> ChunkScheduler:
    """Return the scheduler; raises ValueError naming the number out of bounds."""
    common = chunking.execute_steps, chunking.lookahead, chunking.overrun
    if chunking.scheduler == 'overlapped':
        return Overlapped(*common, chunking.blend, chunking.blend_steps)
    if chunking.continuation:
        return RealTime(*common, chunking.continuation, chunking.max_weight)
    return Synchronous(*common)


__all__ = ['BLENDS', 'Chunking', 'make_scheduler', 'SCHEDULERS']

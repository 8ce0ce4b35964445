# SPDX-License-Identifier: Apache-2.0
"""What the control loop passes on: requests under way, chunks that arrived, who drives."""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
from typing import Protocol

from lwd_core.chunking import Actions, Decision
from lwd_core.chunks.continuation import Continuation
from lwd_core.observation import Observation


@dataclass(frozen=True)
class Planned:
    """A request under way: the observation's stamps and what is needed to plan it again."""

    chunk_id: int
    epoch: int
    index: int  # tick number of the observation
    stamp_ns: int
    sources: dict[str, int]
    digest: str
    seed: int
    requested: float  # wall time [s]
    shadow: bool = False  # planned while a person drives: never executed
    continuation: Continuation | None = None
    running: int = 0  # chunk that the continuation comes from

    @property
    def note(self) -> str:
        """Return what else is needed to plan it again, e.g. 'continues=16 rows=8 delay=3 ...'."""
        if self.continuation is None:
            return ''
        how = self.continuation
        return (f'continues={self.running} rows={len(how.rows)} delay={how.delay} '
                f'max_weight={how.max_weight:g} {how.kind}')


@dataclass(frozen=True)
class ChunkReport:
    """A chunk that arrived, for the record."""

    planned: Planned
    actions: Actions
    latency: float  # s, request to chunk
    inference: float  # s, forward pass
    delay: int
    accepted: bool = True


class Outputs(Protocol):
    """What the loop asks of its surroundings."""

    def infer(self, planned: Planned, observation: Observation) -> None:
        """Start computing a chunk; answered by `on_chunk` or `on_failed`."""

    def command(self, stamp_ns: int, epoch: int, decision: Decision) -> None:
        """Publish the action of the tick `stamp_ns`."""

    def chunk(self, report: ChunkReport) -> None:
        """Publish a chunk that arrived."""


@dataclass
class Situation:
    """Who drives, in which episode, with which checkpoint."""

    policy_drives: bool = False
    human_drives: bool = False
    epoch: int = 0
    mode_stamp_ns: int = 0
    episode_id: str = ''
    instruction: str = ''
    digest: str = ''
    gate_open: bool = False


def chunk_seed(episode_id: str, tick: int) -> int:
    """Return the seed of the noise of a chunk planned at tick number `tick`, in [0, 2^63).

    By the tick and not by a count, so that whoever plays the episode again draws the same noise.
    """
    digest = hashlib.sha256(f'{episode_id}/{tick}'.encode()).digest()
    return int.from_bytes(digest[:8], 'big') >> 1

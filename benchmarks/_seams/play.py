# SPDX-License-Identifier: Apache-2.0
"""Episodes in process whose chunks arrive a given number of ticks late, and what they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from _seams.tasks import World
from lwd_core.chunking import Chunk, ChunkRequest
from lwd_core.chunks.config import Chunking, make_scheduler
from lwd_sim.evaluate import BatchPolicy, chunk_seed


@dataclass(frozen=True)
class Figures:
    """What one episode showed."""

    success: bool
    steps: int
    starved: int  # ticks without an action after the first chunk
    seams: tuple[float, ...]  # rad, largest joint at each seam
    acceleration: float  # rad/s^2, largest of the commands


class LateRun:
    """An episode whose chunks take `delay` ticks; the first is waited for at its start."""

    def __init__(self, world: World, seed: int, chunking: Chunking, delay: int,
                 rate: float) -> None:
        self.world, self.seed = world, seed
        self.request: ChunkRequest | None = None
        self._scheduler = make_scheduler(chunking)
        self._delay, self._rate = delay, rate
        self._arrivals: dict[int, Chunk] = {}
        self._rows: dict[int, np.ndarray] = {}  # chunk id -> its actions
        self._starts: dict[int, int] = {}
        self._playing = 0
        self._sent = [np.asarray(world.joints(), np.float32)]
        self._seams: list[float] = []
        self._starved = 0

    def wants_chunk(self) -> bool:
        """Take the chunk that arrives at this tick; tell whether another one is needed."""
        tick = self.world.steps
        arrived = self._arrivals.pop(tick, None)
        if arrived is not None:
            self._scheduler.receive(arrived, tick)
        self.request = self._scheduler.request(tick)
        return self.request is not None

    def give(self, chunk: np.ndarray) -> None:
        """Let a chunk arrive `delay` ticks from now."""
        tick = self.world.steps
        planned = Chunk(len(self._rows) + 1, 0, tick, chunk)
        late = self._delay if self._rows else 0
        self._rows[planned.chunk_id], self._starts[planned.chunk_id] = chunk, tick
        if late:
            self._arrivals[tick + late] = planned
        else:
            self._scheduler.receive(planned, tick)

    def step(self) -> None:
        """Execute this tick's row, or hold where the last command left the robot."""
        tick = self.world.steps
        decision = self._scheduler.action(tick)
        if decision.action is None:
            self._starved += 1
            self._playing = 0
            action = self._sent[-1]
        else:
            action = decision.action
            if decision.chunk_id != self._playing and len(self._sent) > 1:
                self._seams.append(self._jump(action, tick))
            self._playing = decision.chunk_id
        self._sent.append(np.asarray(action, np.float32))
        self.world.step(action)

    def _jump(self, action: np.ndarray, tick: int) -> float:
        """Return how far a command is from what the chunk before had for this tick [rad]."""
        expected = self._sent[-1]  # a robot that held would have gone on holding
        if self._playing:
            row = tick - self._starts[self._playing]
            rows = self._rows[self._playing]
            expected = rows[row] if row < len(rows) else rows[-1]
        return float(np.abs(action - expected)[self.world.turning].max())

    def figures(self) -> Figures:
        """Return what the episode showed."""
        sent = np.array(self._sent[1:])[:, self.world.turning]
        acceleration = np.abs(np.diff(sent, 2, axis=0)) * self._rate ** 2
        return Figures(self.world.success, self.world.steps, self._starved, tuple(self._seams),
                       float(acceleration.max()) if len(acceleration) else 0.0)


def play(policy: BatchPolicy, runs: list[LateRun]) -> list[Figures]:
    """Step all runs together until each is over: chunks of one tick are computed as a batch."""
    active = list(runs)
    while active:
        asking = [run for run in active if run.wants_chunk()]
        if asking:
            observations = [run.world.observe() for run in asking]
            seeds = [chunk_seed(run.seed, run.world.steps) for run in asking]
            continuations = [run.request.continuation if run.request else None for run in asking]
            more = [continuations] if any(continuations) else []
            for run, chunk in zip(asking, policy(observations, seeds, *more)):
                run.give(chunk)
        for run in active:
            run.step()
        active = [run for run in active if not run.world.over]
    return [run.figures() for run in runs]


def summarize(found: list[Figures]) -> dict[str, Any]:
    """Return the means and percentiles over episodes."""
    seams = np.array([jump for one in found for jump in one.seams] or [float('nan')])
    return {
        'success': float(np.mean([one.success for one in found])), 'episodes': len(found),
        'steps': float(np.mean([one.steps for one in found])),
        'seam_p50_rad': float(np.median(seams)), 'seam_p99_rad': float(np.percentile(seams, 99)),
        'acceleration_p50': float(np.median([one.acceleration for one in found])),
        'acceleration_max': float(np.max([one.acceleration for one in found])),
        'starved_per_episode': float(np.mean([one.starved for one in found])),
    }

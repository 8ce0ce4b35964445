# SPDX-License-Identifier: Apache-2.0
"""Which transitions to learn from: uniform over tasks, loss-adaptive between old and new data."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwd_core.params import param, ParamError
from lwd_learner.replay import ReplayBuffer, ReplayError
from lwd_learner.transitions import Ints

OFFLINE, ONLINE = 0, 1


@dataclass(frozen=True)
class SamplerConfig:
    """SOP's adaptive sampler (algorithm.md, section 3)."""

    boost: float = param(2.0, 'a: above 1 prefers online data at equal losses', lower=0.0)
    low: float = param(0.2, 'least online share of a task', lower=0.0, upper=1.0)
    high: float = param(0.8, 'largest online share of a task', lower=0.0, upper=1.0)
    cold_start: float = param(
        0.5, 'online share until both windows are full', lower=0.0, upper=1.0)
    window: int = param(200, 'losses a mean is taken over', lower=1, upper=1_000_000)

    def __post_init__(self) -> None:
        """Refuse bounds the wrong way round."""
        if self.low > self.high:
            raise ParamError(f'parameter low: {self.low} refused, must be at most high {self.high}')


def online_share(loss_on: float, loss_off: float, config: SamplerConfig) -> float:
    """Return e^(a l_on) / (e^(a l_on) + e^(l_off)), clipped; safe for large losses."""
    exponent = loss_off - config.boost * loss_on
    share = 1.0 / (1.0 + math.exp(min(exponent, 700.0)))
    return min(max(share, config.low), config.high)


@dataclass
class AdaptiveSampler:
    """Draws batches of start ticks: uniform over tasks, then buffer by weight, then uniform."""

    config: SamplerConfig = field(default_factory=SamplerConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        """Seed the generator and start with empty loss windows."""
        self.rng = np.random.default_rng(self.seed)
        self._losses: dict[tuple[int, int], deque[float]] = {}

    def record(
        self, tasks: NDArray[np.int64], origins: NDArray[np.int64], losses: NDArray[np.float32]
    ) -> None:
        """Remember one loss a transition [B]; what is not finite is ignored."""
        finite = np.isfinite(losses)
        for key in {(int(t), int(o)) for t, o in zip(tasks, origins, strict=True)}:
            chosen = finite & (tasks == key[0]) & (origins == key[1])
            window = self._losses.setdefault(key, deque(maxlen=self.config.window))
            window.extend(losses[chosen].tolist())

    def share(self, task: int, has_online: bool, has_offline: bool = True) -> float:
        """Return the online share for a task."""
        if not has_online:
            return 0.0
        if not has_offline:
            return 1.0
        online = self._losses.get((task, ONLINE), ())
        offline = self._losses.get((task, OFFLINE), ())
        if min(len(online), len(offline)) < self.config.window:
            return self.config.cold_start
        return online_share(float(np.mean(online)), float(np.mean(offline)), self.config)

    def draw(self, buffer: ReplayBuffer, batch: int, online: bool = True) -> Ints:
        """Draw start ticks [batch] from the buffer; offline data only unless `online`."""
        none = np.empty(0, np.int64)
        starts = {
            task: (buffer.starts(task, OFFLINE), buffer.starts(task, ONLINE) if online else none)
            for task in range(len(buffer.tasks))
        }
        filled = [task for task, pair in starts.items() if len(pair[0]) + len(pair[1])]
        if not filled:
            raise ReplayError('the replay buffer is empty: record or ingest an episode first')
        counts = self.rng.multinomial(batch, [1.0 / len(filled)] * len(filled))
        drawn = []
        for task, count in zip(filled, counts, strict=True):
            old, fresh = starts[task]
            share = self.share(task, len(fresh) > 0, len(old) > 0)
            new = int(self.rng.binomial(count, share))
            drawn += [self._pick(fresh, new), self._pick(old, int(count) - new)]
        return np.concatenate(drawn)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed sampler needs, as JSON-able data."""
        return {
            'rng': self.rng.bit_generator.state,
            'losses': [[*key, list(window)] for key, window in self._losses.items()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.rng.bit_generator.state = state['rng']
        self._losses = {
            (task, origin): deque(window, maxlen=self.config.window)
            for task, origin, window in state['losses']
        }

    def _pick(self, starts: Ints, count: int) -> Ints:
        if count == 0:
            return starts[:0]
        return starts[self.rng.integers(0, len(starts), count)]


def draw_uniform(chosen: dict[int, Ints], batch: int, rng: np.random.Generator) -> Ints:
    """Draw start ticks [batch], uniform over tasks and then over each task's `chosen` ticks."""
    if not chosen:
        raise ReplayError('no transition fits the selection: no demonstration or success yet')
    counts = rng.multinomial(batch, [1.0 / len(chosen)] * len(chosen))
    return np.concatenate([
        starts[rng.integers(0, len(starts), count)]
        for starts, count in zip(chosen.values(), counts, strict=True)
    ])

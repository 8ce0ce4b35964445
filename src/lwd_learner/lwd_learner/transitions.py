# SPDX-License-Identifier: Apache-2.0
"""From ticks to chunk transitions: masks, n-step returns and discounts, as pure functions.

A tick's fate is decided by three numbers: how many steps lie between it and the last contiguous
observation (`remaining`), whether that observation ends the episode for good (`terminal`), and
whether it succeeded. Rules (gamma per control step, H ticks a chunk, n chunks):

- reward r = 1 at the last control step of a success, else 0;
- the episode ends inside the window: reward gamma^remaining on success, discount 0;
- otherwise k = min(nH, remaining): reward 0, discount gamma^k, bootstrap at t + k;
- a gap or a truncated end is such an end of the contiguous run: the action at its last tick led
  nowhere we saw, so that tick starts no transition and is not part of any critic chunk;
- a tick that `failed` ends its run for good, without reward (`lwd_learner.takeovers`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Ticks:
    """Where every tick of an episode stands in its contiguous run. Arrays [T]."""

    remaining: Ints  # steps to the last contiguous observation
    terminal: Bools  # the run ends with the episode's terminal step
    success: Bools  # ... and that step earned the reward


@dataclass(frozen=True)
class Returns:
    """What a batch of starts earns. Arrays [B]; `mask` [B, H]."""

    reward: Floats
    discount: Floats
    steps: Ints  # k: the bootstrap observation is k ticks on (0 where the episode ended)
    mask: Bools  # executed actions of the chunk that led to something seen


def annotate(gaps: Bools, *, terminal: bool, success: bool, failed: Bools | None = None) -> Ticks:
    """Locate every tick of one episode in its gap-free run; `gaps` [T] as in EpisodeArrays.

    `failed` [T] marks ticks at which a run ended as a failure, though the episode went on.
    """
    length = len(gaps)
    failed = np.zeros(length, bool) if failed is None else failed
    ends = np.flatnonzero(gaps | failed)
    if len(ends) == 0 or ends[-1] != length - 1:
        ends = np.append(ends, length - 1)
    ticks = np.arange(length)
    last = ends[np.searchsorted(ends, ticks)]
    ended = (last == length - 1) & terminal
    lost = failed[last]
    return Ticks(last - ticks, ended | lost, ended & ~lost & success)


def startable(ticks: Ticks) -> Bools:
    """Say which ticks start a transition: all but the last one of a run that was cut."""
    return ticks.terminal | (ticks.remaining > 0)


def returns(ticks: Ticks, *, horizon: int, n_step: int | Ints, gamma: float, span: int = 0
            ) -> Returns:
    """Compute n-step chunk returns for the given ticks; `n_step` is one number or [B].

    A chunk has `horizon` rows, of which `span` are executed before the next one is planned: a
    window is n spans long. 0: all of them, as in the paper.
    """
    window = (span or horizon) * np.asarray(n_step, dtype=np.int64)
    ends = ticks.terminal & (ticks.remaining < window)
    steps = np.where(ends, 0, np.minimum(window, ticks.remaining))
    # float64 powers: gamma^300 in float32 loses the fifth digit the exact cases ask for
    reward = np.where(ends & ticks.success, gamma ** ticks.remaining.astype(np.float64), 0.0)
    discount = np.where(ends, 0.0, gamma ** steps.astype(np.float64))
    executed = ticks.remaining + ticks.terminal
    mask = np.arange(horizon)[None, :] < executed[:, None]
    return Returns(reward.astype(np.float32), discount.astype(np.float32), steps, mask)

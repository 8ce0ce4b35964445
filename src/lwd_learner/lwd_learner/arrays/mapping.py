# SPDX-License-Identifier: Apache-2.0
"""Any reward scale onto the support of the value, without changing which action is better.

DIVL's atoms lie on [-0.1, 1.1] since a robot's return is 0 or 1. A return G of other data becomes

    v = (G - low) / (high - low),

with [low, high] the range of the discounted returns-to-go in the data (or what the user states), so
that what was seen fills [0, 1] and a tenth on either side is left for what learning adds. Within a
window of discounted reward R and discount D (0 where the episode ended) y = R + D V becomes

    y' = (R - low (1 - D)) / (high - low) + D V':

the mapping of the reward depends on the window's discount, which makes it exact for any gamma.
"""

from __future__ import annotations

from dataclasses import dataclass
import logging
import math

import numpy as np
from numpy.typing import NDArray

from lwd_learner.arrays.dataset import Dataset, DatasetError

LOGGER = logging.getLogger(__name__)
Reals = NDArray[np.float64]


@dataclass(frozen=True)
class ValueMapping:
    """Returns in [low, high], units of the data's rewards, onto values in [0, 1]."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse a range that orders nothing."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise DatasetError(
                f'the range of returns [{self.low:g}, {self.high:g}] is empty: every row earns the '
                'same, so no action is better than another')

    @classmethod
    def from_data(cls, data: Dataset, gamma: float) -> ValueMapping:
        """Take the range of the returns-to-go."""
        returns = returns_to_go(data, gamma)
        return cls(float(returns.min()), float(returns.max()))

    def value(self, returns: Reals) -> Reals:
        """Map returns to values."""
        return (returns - self.low) / (self.high - self.low)

    def returns(self, value: Reals) -> Reals:
        """Map values back to returns."""
        return value * (self.high - self.low) + self.low

    def reward(self, reward: Reals, discount: Reals) -> Reals:
        """Map a window's discounted reward [B], given its discount [B]."""
        return (reward - self.low * (1 - discount)) / (self.high - self.low)


def returns_to_go(data: Dataset, gamma: float) -> Reals:
    """Return the discounted sum [N] of the rewards from each row on.

    A cut recording goes on, as the value there does: with the mean reward of its episode, drawn
    towards that of all cut ones where it is short of the 1 / (1 - gamma) steps gamma looks ahead.
    """
    follows = dict(zip(data.ends.tolist(), _tails(data, gamma).tolist()))
    cut = (~data.terminals).tolist()
    rewards = data.rewards.tolist()
    out = np.empty(len(rewards))
    following = 0.0
    for row in range(len(rewards) - 1, -1, -1):
        if row in follows and cut[row]:
            following = follows[row]  # the value of the last observation: its action is not seen
        else:
            following = rewards[row] + (0.0 if row in follows else gamma * following)
        out[row] = following
    return out


def _tails(data: Dataset, gamma: float) -> Reals:
    """Return what follows the last observation of each episode [E]; used where it was cut."""
    ends, rewards = data.ends, data.rewards.astype(np.float64)
    cut = ~data.terminals[ends]
    if not cut.any():
        return np.zeros(len(ends))
    if gamma >= 1.0:
        LOGGER.warning('gamma is 1 and %d episodes are cut: their returns count what was seen '
                       'only; state the range of returns', int(cut.sum()))
        return np.zeros(len(ends))
    starts = np.concatenate([[0], ends[:-1] + 1])
    total, length = np.add.reduceat(rewards, starts), ends - starts + 1
    ahead = 1 / (1 - gamma)
    mean = total[cut].sum() / length[cut].sum()
    tails: Reals = (total + ahead * mean) / (length + ahead) * ahead
    return tails

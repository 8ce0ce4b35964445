# SPDX-License-Identifier: Apache-2.0
"""Jerk limits for commands whose velocity and acceleration are limited already."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lwd_core.clock import NS_PER_S
from lwd_core.robot import RobotSpec

Vector = NDArray[np.float64]


class Smoother:
    """A moving average per joint, just long enough for the joint's jerk limit.

    The mean of the last M positions lies in the position box and keeps the velocity and
    acceleration limits, since each is convex; its acceleration changes from tick to tick by
    (a_k - a_{k-M}) / M, at most 2 a / M, so that M >= 2 a / (j dt) keeps the jerk j at a constant
    dt. It costs (M - 1) / 2 ticks of delay. A joint without a jerk limit has M = 1: no change.
    """

    def __init__(self, lengths: NDArray[np.int64]) -> None:
        """Average `lengths` [d] positions, 1 or more; start with no history."""
        longest = int(lengths.max())
        age = np.arange(longest)[::-1, None]  # [M, 1], newest last
        self._weights = np.where(age < lengths, 1.0 / lengths, 0.0)  # [M, d]
        self._history = np.zeros((longest, len(lengths)))
        self.length = longest

    @classmethod
    def for_robot(cls, robot: RobotSpec) -> Smoother:
        """Return the smoother of a robot file's jerk limits."""
        dt = robot.period_ns / NS_PER_S
        lengths = [1 if joint.jerk is None else
                   max(1, math.ceil(2.0 * joint.acceleration / (joint.jerk * dt) - 1e-9))
                   for joint in robot.joints]
        return cls(np.array(lengths))

    @property
    def at_rest(self) -> bool:
        """Tell whether all positions of the average are the same."""
        return self.length == 1 or bool((self._history == self._history[-1]).all())

    def start(self, position: Vector) -> None:
        """Begin at rest at a position [d]."""
        self._history[:] = position

    def push(self, position: Vector) -> Vector:
        """Take the next position [d]; return what is sent [d]."""
        if self.length == 1:
            return position
        self._history[:-1] = self._history[1:]
        self._history[-1] = position
        return self._mean(self._history)

    def preview(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what [n, d] would be sent for the next positions [n, d], then until at rest."""
        if self.length == 1:
            return positions
        rest = np.repeat(positions[-1:], self.length - 1, axis=0)
        whole = np.concatenate([self._history[1:], positions, rest])
        return np.array([self._mean(whole[k:k + self.length])
                         for k in range(len(whole) - self.length + 1)])

    def _mean(self, window: NDArray[np.float64]) -> Vector:
        newest = window[-1]  # as a difference to it: a standing joint is sent bit for bit
        mean: Vector = newest + (self._weights * (window - newest)).sum(axis=0)
        return mean

# SPDX-License-Identifier: Apache-2.0
"""Keep a robot inside its workspace: take a step only if one can still stop inside after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
SHARES = (1.0, 0.75, 0.5, 0.25, 0.1)  # of the way from braking to the request, tried in this order


class Workspace(Protocol):
    """What a robot must not leave or touch, as one number."""

    def violation(self, position: Vector) -> float:
        """Return by how much [m] a position [d] is outside; 0 or less inside."""

    def describe(self, position: Vector) -> str:
        """Return what is violated worst at a position [d], in words with value and bound."""


class Shield:
    """Choose how much of a step is taken.

    The way to a stop was looked at before every step that was taken, so that braking stays inside:
    whatever is asked for next, no command leaves the workspace that the robot started in. A robot
    that starts outside may move, but not further out.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Judge by this workspace."""
        self._workspace = workspace

    def choose(
        self, now: Vector, braking: Vector, wanted: Vector,
        way: Callable[[Vector], NDArray[np.float64]],
    ) -> tuple[float, str]:
        """Return the share of `wanted` beyond `braking` to take, and why it is not all of it.

        now: position [d] sent last. braking, wanted: velocities [d]. way: the positions [n, d] from
        a step with a velocity [d] until standstill.
        """
        bound = max(0.0, self._workspace.violation(now))
        reason = ''
        for share in SHARES:
            positions = way(braking + share * (wanted - braking))
            worst = next((position for position in positions
                          if self._workspace.violation(position) > bound + 1e-9), None)
            if worst is None:
                return share, reason
            reason = reason or self._workspace.describe(worst)
        return 0.0, reason

# SPDX-License-Identifier: Apache-2.0
"""What RECAP asks of replay: steps to success, and the observation some steps on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lwd_learner.replay import ReplayBuffer
from lwd_learner.transitions import Floats, Ints


def look_ahead(buffer: ReplayBuffer, ticks: Ints, steps: int) -> dict[str, Any]:
    """Return 'return' [B], 'ahead' (observations), 'return_ahead' and 'inside' [B] for `ticks`.

    Returns are minus the ticks to success over the task's longest episode, -1 in a failure. Near
    an episode's end 'ahead' is its last tick and 'inside' is False.
    """
    ends = buffer.episode_ends(ticks)
    ahead = np.minimum(ticks + steps, ends)
    return {
        'return': torch.from_numpy(monte_carlo(buffer, ticks, ends)),
        'return_ahead': torch.from_numpy(monte_carlo(buffer, ahead, ends)),
        'inside': torch.from_numpy(ticks + steps <= ends),
        'ahead': buffer.observations(ahead),
    }


def monte_carlo(buffer: ReplayBuffer, ticks: Ints, ends: Ints) -> Floats:
    """Return the value targets [B] in [-1, 0]."""
    limits = np.array(buffer.longest, np.float64)[buffer.column('task')[ticks].astype(np.int64)]
    steps = -(ends - ticks) / limits
    success = buffer.column('success')[ticks]
    return np.where(success, np.maximum(steps, -1.0), -1.0).astype(np.float32)

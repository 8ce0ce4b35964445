# SPDX-License-Identifier: Apache-2.0
"""How many chunks a return spans: by phase, and offline by how long a task is."""

from __future__ import annotations

import numpy as np

from lwd_learner.config import ReplayConfig
from lwd_learner.replay import ReplayBuffer
from lwd_learner.transitions import Ints


def n_steps(buffer: ReplayBuffer, ticks: Ints, config: ReplayConfig, online: bool) -> int | Ints:
    """Return the return's length in chunks for transitions that start at `ticks` [B].

    Online 1: a longer backup would cross from policy to human. Offline `n_step_offline` for
    long-horizon tasks, `n_step_short` for the others and for a task without a success.
    """
    if online:
        return config.n_step_online
    long = [buffer.success_chunks(task) >= config.long_chunks
            for task in range(len(buffer.tasks))]
    by_task = np.where(long, config.n_step_offline, config.n_step_short).astype(np.int64)
    chosen: Ints = by_task[buffer.column('task')[ticks].astype(np.int64)]
    return chosen

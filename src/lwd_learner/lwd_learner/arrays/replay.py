# SPDX-License-Identifier: Apache-2.0
"""Chunk transitions of a Dataset, in the form the Agent updates on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lwd_learner.arrays.dataset import Dataset, DatasetError
from lwd_learner.arrays.mapping import ValueMapping
from lwd_learner.transitions import Ints, returns, startable, Ticks

Batch = dict[str, Any]


def policy_inputs(observations: np.ndarray, action_dim: int) -> Batch:
    """Return observations [B, o] as a flow policy's inputs.

    They are its state. Arrays know no joints: that input stays zero, of the size that a checkpoint
    must have for it.
    """
    return {'state': torch.from_numpy(observations),
            'joints': torch.zeros(len(observations), action_dim)}


class ArrayReplay:
    """Index arithmetic over the dataset's arrays: nothing is copied but the batch."""

    def __init__(self, data: Dataset, mapping: ValueMapping, horizon: int, gamma: float) -> None:
        """Locate every row in its episode; DatasetError if no row starts a transition."""
        self.data = data
        self.mapping = mapping
        self.horizon = horizon
        self.gamma = gamma
        last = data.last
        ended = data.terminals[last]
        self._ticks = Ticks(last - np.arange(len(data)), ended, np.zeros_like(ended))
        self.starts: Ints = np.flatnonzero(startable(self._ticks))
        if not len(self.starts):
            raise DatasetError(f'all {len(data)} episodes are one row and cut by a timeout: what '
                               'their actions led to was not seen')

    def sample(self, batch: int, n_step: int, rng: np.random.Generator) -> Batch:
        """Gather transitions [batch] that start anywhere, drawn uniformly."""
        return self.gather(self.starts[rng.integers(0, len(self.starts), batch)], n_step)

    def gather(self, rows: Ints, n_step: int = 1) -> Batch:
        """Gather the transitions that start at `rows` [B], with returns of `n_step` chunks."""
        placed = Ticks(self._ticks.remaining[rows], self._ticks.terminal[rows],
                       self._ticks.success[rows])
        window = returns(placed, horizon=self.horizon, n_step=n_step, gamma=self.gamma)
        earned = self._earned(rows, placed, n_step)
        reward = self.mapping.reward(earned, window.discount.astype(np.float64))
        steps = np.where(window.mask, rows[:, None] + np.arange(self.horizon), rows[:, None])
        mask = torch.from_numpy(window.mask.astype(np.float32))
        return {
            **self._inputs(rows),
            'action': torch.from_numpy(self.data.actions[steps] * window.mask[:, :, None]),
            'mask': mask, 'imitate': mask,
            'reward': torch.from_numpy(reward.astype(np.float32)),
            'discount': torch.from_numpy(window.discount),
            'next': self._inputs(rows + window.steps),
        }

    def _inputs(self, rows: Ints) -> Batch:
        return policy_inputs(self.data.observations[rows], self.data.actions.shape[1])

    def _earned(self, rows: Ints, placed: Ticks, n_step: int) -> np.ndarray:
        """Return the discounted rewards [B] between a row and where its window ends."""
        step = np.arange(self.horizon * n_step)
        # a terminal row's reward is earned; that of a cut row led to nothing that was seen
        inside = step[None, :] < (placed.remaining + placed.terminal)[:, None]
        at = np.where(inside, rows[:, None] + step, rows[:, None])
        discounted = self.data.rewards[at] * self.gamma ** step.astype(np.float64)
        total: np.ndarray = (discounted * inside).sum(1)
        return total

# SPDX-License-Identifier: Apache-2.0
"""The batches of an update: transitions for the critic, steps to imitate for the reference."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from lwd_learner.algorithms.config import AgentConfig
from lwd_learner.config import LearnerConfig
from lwd_learner.look_ahead import look_ahead
from lwd_learner.replay import ReplayBuffer
from lwd_learner.sampler import AdaptiveSampler, draw_uniform
from lwd_learner.schedule import n_steps

LOGGER = logging.getLogger(__name__)


class Batches:
    """Draws what the algorithm asks for; its state is the cursor of a resumed run."""

    def __init__(self, buffer: ReplayBuffer, sampler: AdaptiveSampler, config: LearnerConfig,
                 agent: AgentConfig, seed: int) -> None:
        self._buffer, self._sampler, self._config, self._agent = buffer, sampler, config, agent
        self._rng = np.random.default_rng([seed, 1])
        self._expected: tuple[int, str] | None = None  # the replay that a resumed state learned on

    def draw(self, online: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Return (transitions, imitation or None); offline data only unless `online`."""
        agent, size = self._agent, self._config.learning.imitation_batch
        imitation = None
        if size and (agent.clones_only or agent.algorithm == 'lwd'):
            starts = self._buffer.imitation_starts()
            if starts or agent.clones_only:
                imitation = self._buffer.gather(draw_uniform(starts, size, self._rng))
        if agent.clones_only and imitation is not None:
            return imitation, imitation
        drawn = self._sampler.draw(self._buffer, self._config.learning.batch, online)
        batch = self._buffer.gather(
            drawn, n_steps(self._buffer, drawn, self._config.replay, online), agent.critic.steps)
        if agent.algorithm == 'recap':
            batch |= look_ahead(self._buffer, drawn, agent.recap.look_ahead)
        return batch, imitation

    def state_dict(self) -> dict[str, Any]:
        """Return generators, losses, and which episodes the buffer holds in which order."""
        return {'sampler': self._sampler.state_dict(), 'rng': self._rng.bit_generator.state,
                'buffer': self._buffer.cursor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; the buffer is filled apart, before or after."""
        self._sampler.load_state_dict(state['sampler'])
        self._rng.bit_generator.state = state['rng']
        self._expected = tuple(state['buffer'])
        self.compare()

    def compare(self) -> None:
        """Say so where a refilled buffer differs from the one the state was saved with."""
        if self._expected is None or self._buffer.cursor[0] < self._expected[0]:
            return
        if self._buffer.cursor[0] == self._expected[0] and self._buffer.cursor != self._expected:
            LOGGER.warning('replay holds other episodes than when the state was saved: learning '
                           'goes on, but not as it would have')
        self._expected = None

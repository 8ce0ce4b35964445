# SPDX-License-Identifier: Apache-2.0
"""What the learner's value function thinks along a rolled-out episode, from its resume state."""

from collections.abc import Callable
import logging
from pathlib import Path
from typing import Any

from lwd_learner.config import LearnerConfig
from lwd_learner.convert import from_rollout
from lwd_learner.state_io import StateError
from lwd_learner.value import episode_values, load_agent
from lwd_sim.episode import Episode

LOGGER = logging.getLogger(__name__)
SHOWN = ('mean', 'low', 'high')
ValueFunction = Callable[[Episode], dict[str, list[float]]]


def load_value_function(settings: dict[str, Any]) -> ValueFunction | None:
    """Return the value function, or None, said in the log, if the learner left none."""
    if settings['observation'] != 'state':
        LOGGER.warning('values are drawn for state observation only')
        return None
    config = LearnerConfig.from_yaml(settings['learner_config'])
    try:
        agent = load_agent(Path(settings['learner_dir']), config)
    except StateError as error:
        LOGGER.warning('no value function: %s', error)
        return None

    def values(episode: Episode) -> dict[str, list[float]]:
        arrays = from_rollout(episode, 'shown', 'online', config.replay, config.instruction_dim)
        trace = episode_values(agent, arrays, config)
        return {name: trace[name].astype(float).round(4).tolist() for name in SHOWN
                if name in trace}

    return values

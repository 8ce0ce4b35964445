# SPDX-License-Identifier: Apache-2.0
"""What the cameras saw in an episode made in process: its actions again, rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwd_core.flow.trunk import KeypointTrunk
from lwd_sim.observe import observe
from lwd_sim.rendering import CameraRenderer
from lwd_sim.world import World

TRUNK = Path(__file__).resolve().parents[2] / 'config' / 'trunks' / 'suite.safetensors'
BATCH = 64  # frames through the trunk at once


def features_of(episode: Any, trunk: KeypointTrunk) -> NDArray[np.float32]:
    """Return the trunk's features [T, F] of an episode's observations.

    The simulator repeats itself bit for bit; ValueError if it ever did not.
    """
    world, renderer = World(episode.task), CameraRenderer()
    world.reset(episode.seed)
    images: list[Any] = []
    found: list[NDArray[np.float32]] = []
    try:
        for step, action in enumerate(episode.actions):
            seen = observe(world, episode.instruction, renderer)
            if not np.array_equal(seen.joints, episode.joints[step]):
                raise ValueError(f'{episode.task} from seed {episode.seed}: another simulation '
                                 f'than was recorded, at step {step}')
            images.append(seen.images)
            if len(images) == BATCH or step == len(episode.actions) - 1:
                rows = episode.joints[step + 1 - len(images):step + 1]
                found.append(trunk.features_batch(images, rows))
                images = []
            world.step(action)
    finally:
        renderer.close()
    return np.concatenate(found)

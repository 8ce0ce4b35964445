# SPDX-License-Identifier: Apache-2.0
"""The simulated cell's `place`: one way to do it, and slow enough to bear a late chunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from _seams.tasks import Demonstration, Task
from lwd_core.observation import Observation
from lwd_core.robot import RobotSpec
from lwd_sim.collect import ARM_MASK, collect
from lwd_sim.instructions import instruction_of
from lwd_sim.observe import observe
from lwd_sim.world import World

NAME = 'place'


class PlaceWorld:
    """`lwd_sim`'s world as the schedulers play it."""

    turning = ARM_MASK > 0

    def __init__(self, seed: int) -> None:
        self._world = World(NAME)
        self._world.reset(seed)
        self.success = False

    @property
    def steps(self) -> int:
        """Ticks since the start."""
        return int(self._world.steps)

    @property
    def over(self) -> bool:
        """Done, or out of time."""
        return self.success or self.steps >= self._world.task.time_limit

    def joints(self) -> np.ndarray:
        """Return the joints [14]."""
        return self._world.joints()

    def observe(self) -> Observation:
        """Return joints and privileged state."""
        return observe(self._world, instruction_of(NAME))

    def step(self, action: np.ndarray) -> None:
        """Go on by one tick."""
        self.success = self._world.step(action)


def demonstrations(count: int) -> list[Demonstration]:
    """Return the scripted expert's episodes."""
    return [Demonstration(np.asarray(e.joints), np.asarray(e.state), np.asarray(e.actions),
                          e.instruction) for e in collect(NAME, count)]


def task(root: Path) -> Task:
    """Return the task."""
    robot = RobotSpec.from_yaml(root / 'config' / 'robots' / 'sim.yaml')
    return Task(NAME, robot, PlaceWorld, demonstrations, demonstrations=60, steps=2500)

# SPDX-License-Identifier: Apache-2.0
"""What a task offers to those who play it, and to those who clone a policy for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lwd_core.observation import Observation
from lwd_core.robot import RobotSpec


class World(Protocol):
    """A simulated robot and its scene, at the control rate."""

    steps: int
    turning: np.ndarray  # bool [d]: the joints whose seams count, without jaws

    def joints(self) -> np.ndarray:
        """Return the joints [d] as they are."""

    def observe(self) -> Observation:
        """Return what the policy sees now."""

    def step(self, action: np.ndarray) -> None:
        """Go on by one control tick towards the joint targets [d]."""

    @property
    def success(self) -> bool:
        """Tell whether the task is done."""

    @property
    def over(self) -> bool:
        """Tell whether the episode is over: done, failed, or out of time."""


@dataclass(frozen=True)
class Demonstration:
    """What the expert saw, and what he had the robot do, tick by tick."""

    joints: np.ndarray  # [T, d]
    state: np.ndarray  # [T, S]
    actions: np.ndarray  # [T, d]
    instruction: str


@dataclass(frozen=True)
class Task:
    """One task: robot, worlds by seed, demonstrations."""

    name: str
    robot: RobotSpec
    world: Callable[[int], World]
    demonstrate: Callable[[int], list[Demonstration]]
    demonstrations: int  # that the policy is cloned from
    steps: int  # updates of the cloning
    input_noise: float = 0.05  # std, of normalised inputs
    edition: str = ''  # changes with what is demonstrated: another policy is cloned

# SPDX-License-Identifier: Apache-2.0
"""The simulated robot as its driver sees it: commands in, noisy measurements out. Pure.

Time only grows: a reset places the scene anew at the next tick, the clock goes on.
"""
from dataclasses import dataclass

import numpy as np

from lwd_core.robot import RobotSpec, SpecError
from lwd_sim.collect import ARM_MASK
from lwd_sim.features import STATE_NAMES, state_vector
from lwd_sim.names import CAMERAS, CONTROL_RATE, JOINT_NAMES
from lwd_sim.tasks import all_tasks
from lwd_sim.world import World

# Control steps after a reset in which commands are not obeyed: the newest one is still meant for
# the scene before, and would throw the arms back to where they were.
SETTLE_STEPS = 3


@dataclass(frozen=True)
class Imperfections:
    """Noise and wear of a real robot; all zero by default."""

    joint_noise: float = 0.0        # rad, std of measured joint positions
    state_noise: float = 0.0        # SI, std of the state observation
    actuation_noise: float = 0.0    # rad, std added to the joint targets, unknown to anyone


class SimulatedRobot:
    """One robot that is reset to tasks and driven by joint targets."""

    state_names = STATE_NAMES
    cameras = CAMERAS

    def __init__(self, robot: RobotSpec, task: str = 'place', seed: int = 0,
                 imperfections: Imperfections | None = None) -> None:
        _check_joints(robot)
        if robot.control_rate != CONTROL_RATE:
            raise ValueError(f'robot {robot.name!r}: control_rate is {robot.control_rate:g} Hz, '
                             f'the simulation runs at {CONTROL_RATE:g} Hz')
        self.names = robot.joint_names
        self._order = [self.names.index(name) for name in JOINT_NAMES]   # ours from the robot's
        self._back = [JOINT_NAMES.index(name) for name in self.names]    # the robot's from ours
        self._imperfections = imperfections or Imperfections()
        self._worlds: dict[str, World] = {}
        self.reset(task, seed)

    def reset(self, task: str, seed: int) -> None:
        """Place the scene; raises ValueError for an unknown task."""
        known = all_tasks()
        if task not in known:
            raise ValueError(f'task {task!r} is unknown to the simulation; it has '
                             f'{", ".join(known)}')
        if task not in self._worlds:
            self._worlds[task] = World(task)
        self.world = self._worlds[task]
        self.world.reset(seed)
        self.starved_steps = 0
        self._rng = np.random.default_rng([max(0, seed), 4])
        self._targets = self.world.joints()
        self._targets[ARM_MASK == 0] = 1.0
        self._settle = SETTLE_STEPS

    def step(self, targets: np.ndarray | None) -> bool:
        """Run one control step towards `targets` (robot's joint order), or the last ones if None.

        Returns the task's success.
        """
        if targets is None:
            self.starved_steps += 1
        elif self._settle == 0:
            self._targets = np.asarray(targets, dtype=float)[self._order]
        self._settle = max(0, self._settle - 1)
        noise = self._imperfections.actuation_noise * ARM_MASK * self._rng.standard_normal(14)
        return self.world.step(self._targets + noise)

    def joints(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return measured positions, velocities and efforts [14] in the robot's joint order."""
        noise = self._imperfections.joint_noise * ARM_MASK * self._rng.standard_normal(14)
        positions = self.world.joints() + noise
        return (positions[self._back], self.world.joint_velocities()[self._back],
                self.world.joint_efforts()[self._back])

    def state(self) -> np.ndarray:
        """Return the state observation float32 [S]."""
        values = state_vector(self.world)
        noise = self._imperfections.state_noise * self._rng.standard_normal(len(values))
        return (values + noise).astype(np.float32)


def _check_joints(robot: RobotSpec) -> None:
    """Raise SpecError unless the robot file has exactly the simulated robot's joints."""
    robot.require_joints(JOINT_NAMES, 'lwd_sim')
    missing = [name for name in JOINT_NAMES if name not in robot.joint_names]
    if missing:
        raise SpecError(f'robot {robot.name!r}: joints: lacks {", ".join(missing)}, which the '
                        'simulated robot has')

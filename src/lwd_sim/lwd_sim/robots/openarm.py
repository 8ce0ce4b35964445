# SPDX-License-Identifier: Apache-2.0
"""The simulated OpenArm as its driver sees it; the counterpart of simulation.SimulatedRobot."""
import numpy as np

from lwd_core.robot import RobotSpec, SpecError
from lwd_sim.names import CONTROL_RATE
from lwd_sim.robots.openarm_scene import ARM_DOF, ARMS
from lwd_sim.robots.openarm_world import OpenArmWorld, STATE_NAMES, TASKS
from lwd_sim.simulation import Imperfections, SETTLE_STEPS

JOINT_NAMES = tuple(name for arm in ARMS for name in (
    *(f'openarm_{arm}_joint{i + 1}' for i in range(ARM_DOF)), f'openarm_{arm}_gripper'))
ARM_MASK = np.array([0.0 if name.endswith('gripper') else 1.0 for name in JOINT_NAMES])


def order(robot: RobotSpec) -> list[int]:
    """Return where each of JOINT_NAMES lies in the robot's vectors; SpecError if one is missing."""
    if sorted(robot.joint_names) != sorted(JOINT_NAMES):
        raise SpecError(f'robot {robot.name!r}: joints: are {", ".join(robot.joint_names)}; the '
                        f'simulated OpenArm has {", ".join(JOINT_NAMES)}')
    return [robot.joint_names.index(name) for name in JOINT_NAMES]


class OpenArm:
    """One OpenArm that is reset to tasks and driven by joint targets in the robot file's order."""

    state_names = STATE_NAMES
    cameras = ('head', 'left_wrist', 'right_wrist')

    def __init__(self, robot: RobotSpec, task: str = 'reach', seed: int = 0,
                 imperfections: Imperfections | None = None) -> None:
        if robot.control_rate != CONTROL_RATE:
            raise ValueError(f'robot {robot.name!r}: control_rate is {robot.control_rate:g} Hz, '
                             f'the simulation runs at {CONTROL_RATE:g} Hz')
        self._order = order(robot)
        self._back = [JOINT_NAMES.index(name) for name in robot.joint_names]
        self.names = robot.joint_names
        self._imperfections = imperfections or Imperfections()
        self.world = OpenArmWorld(robot)
        self.reset(task if task in TASKS else next(iter(TASKS)), seed)

    def reset(self, task: str, seed: int) -> None:
        """Place the scene; raises ValueError for an unknown task."""
        if task not in TASKS:
            raise ValueError(f'task {task!r} is unknown to the simulated OpenArm; it has '
                             f'{", ".join(TASKS)}')
        self.world.task = TASKS[task]
        self.world.reset(seed)
        self.starved_steps = 0
        self._rng = np.random.default_rng([max(0, seed), 4])
        self._targets = self.world.joints()
        self._settle = SETTLE_STEPS

    def step(self, targets: np.ndarray | None) -> bool:
        """Run one control step towards `targets`, or the last ones if None; return success."""
        if targets is None:
            self.starved_steps += 1
        elif self._settle == 0:
            self._targets = np.asarray(targets, dtype=float)[self._order]
        self._settle = max(0, self._settle - 1)
        return self.world.step(self._targets + self._noise(self._imperfections.actuation_noise))

    def _noise(self, std: float) -> np.ndarray:
        return std * ARM_MASK * self._rng.standard_normal(len(ARM_MASK))

    def joints(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return measured positions, velocities and efforts [16] in the robot file's order."""
        positions = self.world.joints() + self._noise(self._imperfections.joint_noise)
        return (positions[self._back], self.world.joint_velocities()[self._back],
                self.world.joint_efforts()[self._back])

    def state(self) -> np.ndarray:
        """Return the state observation float32 [18]."""
        values = self.world.observe()
        noise = self._imperfections.state_noise * self._rng.standard_normal(len(values))
        return (values + noise).astype(np.float32)

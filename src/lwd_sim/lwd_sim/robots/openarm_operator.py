# SPDX-License-Identifier: Apache-2.0
"""The scripted operator of OpenArm: brings both hands to their marks; the counterpart of operating.

Memoryless while driving, as the cell's expert is. Supervising, he takes over when the hands have
come no nearer for a while, and hands back once they have.
"""
import numpy as np

from lwd_core.robot import RobotSpec
from lwd_sim.operating import Intent, View
from lwd_sim.robots.openarm import ARM_MASK, JOINT_NAMES, order
from lwd_sim.robots.openarm_scene import ARM_DOF, ARMS
from lwd_sim.robots.openarm_world import HOME_ARM, OpenArmWorld
from lwd_sim.supervisor import SupervisorConfig

SPEED = 0.012            # m per control step
LEAD = 1.5               # of the target before the measured joints
DAMPING = 0.05           # m/rad, of the pseudo-inverse
POSTURE_GAIN = 0.02      # pull towards home in the null space


def reach(world: OpenArmWorld) -> np.ndarray:
    """Return joint targets [16] that bring both hands nearer to their marks, jaws open."""
    action = world.joints()
    for index, arm in enumerate(ARMS):
        own = slice(index * (ARM_DOF + 1), index * (ARM_DOF + 1) + ARM_DOF)
        gap, jacobian = world.gap(arm), world.jacobian(arm)
        gap *= min(1.0, SPEED / max(float(np.linalg.norm(gap)), 1e-9))
        posture = POSTURE_GAIN * (HOME_ARM - action[own])
        square = jacobian @ jacobian.T + DAMPING**2 * np.eye(3)
        step = posture + jacobian.T @ np.linalg.solve(square, gap - jacobian @ posture)
        limits = world.limits[index * ARM_DOF:(index + 1) * ARM_DOF]
        action[own] = np.clip(action[own] + LEAD * step, *limits.T)
        action[own.stop] = 1.0
    return action


class ReachingOperator:
    """Drives from the first tick (`demonstrate`), or watches and corrects (`supervise`)."""

    def __init__(self, robot: RobotSpec, supervises: bool, noise: float,
                 config: SupervisorConfig) -> None:
        self._supervises, self._noise, self._config = supervises, noise, config
        order(robot)
        self.names = JOINT_NAMES
        self._world = OpenArmWorld(robot)
        self.driving = not supervises
        self.begin('', 0, 0)

    def begin(self, task: str, seed: int, time_limit: int) -> None:
        """Start an episode; the marks follow from the seed."""
        self._world.reset(seed)
        self._rng = np.random.default_rng([max(0, seed), 1])
        self.driving = not self._supervises
        self._best, self._best_tick, self._since, self._takeovers = np.inf, 0, 0, 0

    def see(self, view: View, tick: int) -> Intent:
        """Return what to do at the episode's `tick`."""
        action = self.act(view)
        if view.success:
            return Intent(action if self.driving else None, finished=True)
        if not self._supervises:
            return Intent(action)
        return self._watch(action, tick)

    def _watch(self, action: np.ndarray, tick: int) -> Intent:
        distance = sum(float(np.linalg.norm(self._world.gap(arm))) for arm in ARMS)
        if distance < self._best - self._config.gain:
            self._best, self._best_tick = distance, tick
        if not self.driving and tick - self._best_tick >= self._config.patience:
            self._change(True, tick)
            return Intent(action, take_over='the hands come no nearer')
        enough = tick - self._since >= self._config.min_correction
        last = self._takeovers >= self._config.max_takeovers or not self._config.hand_back
        if self.driving and enough and not last and distance < 0.1:
            self._change(False, tick)
            return Intent(action, hand_back='the hands are nearly there')
        return Intent(action if self.driving else None)

    def _change(self, driving: bool, tick: int) -> None:
        self.driving, self._since, self._best_tick = driving, tick, tick
        self._takeovers += driving

    def scores(self) -> tuple[float, ...]:
        """Return no sub-step scores: the task has none."""
        return ()

    def act(self, view: View) -> np.ndarray:
        """Return the action for a view, whoever drives."""
        self._world.set_state(view.qpos, view.qvel, view.ctrl)
        return reach(self._world) + self._noise * ARM_MASK * self._rng.standard_normal(
            len(ARM_MASK))

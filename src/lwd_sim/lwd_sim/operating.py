# SPDX-License-Identifier: Apache-2.0
"""The scripted operator's head: sees the state of the simulation, decides and drives. Pure.

He sees the cell through a World of his own, rebuilt from what sim/state says at each tick.
"""
from dataclasses import dataclass

import numpy as np

from lwd_sim.collect import ARM_MASK
from lwd_sim.expert import Expert
from lwd_sim.names import JOINT_NAMES
from lwd_sim.scoring import StageScorer
from lwd_sim.supervisor import Supervisor, SupervisorConfig
from lwd_sim.world import World


@dataclass(frozen=True)
class View:
    """One tick of sim/state."""

    task: str
    seed: int
    step: int
    qpos: np.ndarray
    qvel: np.ndarray
    ctrl: np.ndarray
    success: bool


@dataclass(frozen=True)
class Intent:
    """What the operator does at a tick: an action [14] to send, a mode to ask for and why."""

    action: np.ndarray | None = None
    take_over: str = ''
    hand_back: str = ''
    finished: bool = False       # the task is done: label it
    hopeless: bool = False       # he gives up: label it a failure


class ScriptedOperator:
    """Drives from the first tick (`demonstrate`), or watches and corrects (`supervise`)."""

    names = JOINT_NAMES  # of an action, in order

    def __init__(self, supervises: bool, noise: float = 0.0,
                 config: SupervisorConfig | None = None) -> None:
        self._supervises, self._noise = supervises, noise
        self._config = config or SupervisorConfig()
        self._worlds: dict[str, World] = {}
        self.driving = not supervises
        self._supervisor: Supervisor | None = None

    @property
    def world(self) -> World:
        """Return the cell as he sees it now."""
        return self._world

    def begin(self, task: str, seed: int, time_limit: int) -> None:
        """Start an episode; `time_limit` in control steps."""
        if task not in self._worlds:
            self._worlds[task] = World(task)
        self._world = self._worlds[task]
        self._expert, self._scorer = Expert(task), StageScorer(self._world)
        self._rng = np.random.default_rng([max(0, seed), 1])
        self._supervisor = Supervisor(time_limit, self._world.task.usual_time, self._config)
        self.driving = not self._supervises

    def see(self, view: View, tick: int) -> Intent:
        """Return what to do at the episode's `tick` (control steps since it began)."""
        assert self._supervisor is not None
        self._world.set_state(view.qpos, view.qvel, view.ctrl)
        self._world.steps = tick
        self._scorer.watch()
        if view.success:
            return Intent(self._act() if self.driving else None, finished=True)
        if not self._supervises:
            return Intent(self._act())
        reason = self._supervisor.watch(self._world)
        if reason is None:
            return Intent(self._act() if self.driving else None,
                          hopeless=self._supervisor.gives_up)
        self.driving = self._supervisor.human
        if self.driving:
            return Intent(self._act(), take_over=reason)
        return Intent(self._act(), hand_back=reason)

    def scores(self) -> tuple[float, ...]:
        """Return what he gives the sub-steps so far: 1, 0.5 or 0; none for a binary task."""
        return self._scorer.scores()

    def act(self, view: View) -> np.ndarray:
        """Return the expert's action for a view, whoever drives."""
        self._world.set_state(view.qpos, view.qvel, view.ctrl)
        return self._act()

    def _act(self) -> np.ndarray:
        action = self._expert.act(self._world)
        return action + self._noise * ARM_MASK * self._rng.standard_normal(14)

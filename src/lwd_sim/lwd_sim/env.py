# SPDX-License-Identifier: Apache-2.0
"""The Gymnasium environment `lwd/DualArm-v0`: one robot, one task at a time, sparse reward."""
from typing import Any

import gymnasium
from gymnasium import spaces
import numpy as np

from lwd_core.observation import Observation
from lwd_core.robot import RobotSpec
from lwd_sim.features import STATE_NAMES
from lwd_sim.instructions import instruction_of
from lwd_sim.names import CAMERAS, JOINT_NAMES
from lwd_sim.observe import observe
from lwd_sim.rendering import CameraRenderer, IMAGE_SIZE
from lwd_sim.world import World

ENV_ID = 'lwd/DualArm-v0'
JAW_LIMITS = (0.0, 1.0)


class DualArmEnv(gymnasium.Env):
    """Actions [14]: absolute joint targets (rad; jaws: fraction open), 25 Hz. Reward 1 on success.

    `observation`: 'state' (joints and privileged state) or 'pixels' (joints and three cameras).
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 25}

    def __init__(self, task: str | None = None, observation: str = 'state',
                 robot: RobotSpec | None = None, render_mode: str | None = 'rgb_array') -> None:
        if observation not in ('state', 'pixels'):
            raise ValueError(f"observation: is {observation!r}, must be 'state' or 'pixels'")
        if robot is not None:
            robot.require_joints(JOINT_NAMES, 'lwd_sim')
        self.render_mode = render_mode
        self.mode = observation
        self._renderer = CameraRenderer()
        self._viewer: CameraRenderer | None = None
        self._worlds: dict[str, World] = {}
        self._select(task or 'place')
        self.action_space = _action_space(self.world)
        self.observation_space = _observation_space(observation)

    def _select(self, task: str) -> None:
        if task not in self._worlds:
            self._worlds[task] = World(task)
        self.world = self._worlds[task]
        self.instruction = instruction_of(task)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None
              ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; `options={'task': name}` changes the task."""
        super().reset(seed=seed)
        if options and 'task' in options:
            self._select(options['task'])
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self.world.reset(seed)
        return self._observation_dict(), {'task': self.world.task.name, 'seed': seed}

    def step(self, action: np.ndarray
             ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Apply one control step; terminated on success, truncated at the task's time limit."""
        success = self.world.step(action)
        late = self.world.steps >= self.world.task.time_limit
        return (self._observation_dict(), float(success), success, late and not success,
                {'success': success})

    def observation(self) -> Observation:
        """Return what a policy sees now, as the robot's topics would give it."""
        renderer = self._renderer if self.mode == 'pixels' else None
        return observe(self.world, self.instruction, renderer)

    def _observation_dict(self) -> dict[str, np.ndarray]:
        observation = self.observation()
        if observation.state is not None:
            return {'joints': observation.joints, 'state': observation.state}
        return {'joints': observation.joints, **observation.images}

    def render(self) -> np.ndarray:
        """Return the head camera's view, uint8 [240, 320, 3]."""
        if self._viewer is None:
            self._viewer = CameraRenderer(320, 240)
        return self._viewer.render(self.world, ('head',))['head']

    def close(self) -> None:
        """Free the graphics contexts."""
        self._renderer.close()
        if self._viewer is not None:
            self._viewer.close()


def _action_space(world: World) -> spaces.Box:
    low, high = (np.tile(np.append(limit, jaw), 2).astype(np.float32)
                 for limit, jaw in zip(world.joint_limits.T, JAW_LIMITS))
    return spaces.Box(low, high, dtype=np.float32)


def _observation_space(mode: str) -> spaces.Dict:
    joints = spaces.Box(-np.inf, np.inf, (len(JOINT_NAMES),), np.float32)
    if mode == 'state':
        state = spaces.Box(-np.inf, np.inf, (len(STATE_NAMES),), np.float32)
        return spaces.Dict({'joints': joints, 'state': state})
    image = spaces.Box(0, 255, (IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    return spaces.Dict({'joints': joints, **dict.fromkeys(CAMERAS, image)})


def make_env(task: str | None = None, observation: str = 'state',
             robot: RobotSpec | None = None) -> DualArmEnv:
    """Return an environment, unwrapped: `observation()` gives lwd_core Observations."""
    return DualArmEnv(task, observation, robot)


def register() -> None:
    """Make `gymnasium.make('lwd/DualArm-v0', task=...)` work."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point=DualArmEnv)


register()

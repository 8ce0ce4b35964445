# SPDX-License-Identifier: Apache-2.0
"""Past three posts that stand in the way, each on its left or on its right: a task of many plans.

A planar arm of two joints (position-controlled, with torque limits and inertia) carries its hand
past slender posts that stand free and fall when they are touched. Both sides are as good, and the
demonstrations take each half of the time, anew at each post: whoever executes a bit of one plan and
a bit of another runs into a post. MuJoCo; metres, radians, 25 Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import mujoco
import numpy as np

from _seams.tasks import Demonstration, Task
from lwd_core.hashing import sha256_bytes
from lwd_core.observation import Observation
from lwd_core.robot import JointSpec, RobotSpec

RATE = 25.0
PERIOD_NS = round(1e9 / RATE)
UPPER, FORE = 0.30, 0.28  # m, the links
HAND, POST = 0.015, 0.012  # m, radii: they touch at 27 mm
INSTRUCTION = 'past the posts'
POSTS = (-0.2, 0.0, 0.2)  # m along the way; how far from the shoulder it passes:
AWAY = 0.37
SPEED = 0.2  # m/s along the way
ASIDE = 0.065  # m, how far from the straight way the hand passes a post
SWERVE, BESIDE = 0.09, 0.03  # m before a post where the swerve begins, and where it is done
REACHED = 0.02  # m from the goal
TILTED, MOVED = 0.3, 0.02  # rad and m: a post fell, or was pushed
PATIENCE = 1.5  # times the expert's time: who stands and thinks half of it is too late
PAUSES = 0.03  # of the ticks before which a demonstration stands, as who waits for a chunk does
NOISE = 0.004  # m, of the demonstrations: the robot is pushed off the plan, the label leads back

POST_BODIES = ''.join(f'''
    <body name="post{number}" pos="{AWAY} {y} 0.07">
      <freejoint/>
      <geom type="cylinder" size="{POST} 0.07" mass="0.15" friction="0.6"/>
    </body>''' for number, y in enumerate(POSTS))
MODEL = f'''
<mujoco model="post">
  <option timestep="0.002" integrator="implicitfast"/>
  <worldbody>
    <geom type="plane" size="1 1 .1" friction="0.6"/>
    <body pos="0 0 .2">
      <joint name="shoulder" axis="0 0 1" damping="1" armature="0.02"/>
      <geom type="capsule" fromto="0 0 0 {UPPER} 0 0" size=".02" mass="1.2"/>
      <body pos="{UPPER} 0 0">
        <joint name="elbow" axis="0 0 1" damping="0.5" armature="0.01"/>
        <geom type="capsule" fromto="0 0 0 {FORE} 0 0" size=".02" mass="0.8"/>
        <geom name="hand" type="cylinder" fromto="{FORE} 0 0 {FORE} 0 -.16" size="{HAND}"
              mass="0.2"/>
        <site name="hand" pos="{FORE} 0 -.1"/>
      </body>
    </body>
    {POST_BODIES}
  </worldbody>
  <actuator>
    <position joint="shoulder" kp="200" kv="14" forcerange="-40 40"/>
    <position joint="elbow" kp="80" kv="4" forcerange="-20 20"/>
  </actuator>
</mujoco>'''


def inverse(hand: np.ndarray) -> np.ndarray:
    """Return shoulder and elbow [..., 2] that bring the hand to [..., 2]."""
    x, y = hand[..., 0], hand[..., 1]
    cosine = (x * x + y * y - UPPER ** 2 - FORE ** 2) / (2 * UPPER * FORE)
    elbow = np.arccos(np.clip(cosine, -1, 1))
    shoulder = np.arctan2(y, x) - np.arctan2(FORE * np.sin(elbow), UPPER + FORE * np.cos(elbow))
    return np.stack((shoulder, elbow), -1)


def smooth(u: np.ndarray) -> np.ndarray:
    """Return a step from 0 to 1 over u in [0, 1], with a continuous second derivative."""
    u = np.clip(u, 0, 1)
    return u ** 3 * (10 - 15 * u + 6 * u * u)


class PostWorld:
    """One start: hand, goal and posts stand a little elsewhere each time."""

    turning = np.ones(2, bool)

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 7])
        self._model = _model()
        self._data = mujoco.MjData(self._model)
        self._bodies = [self._model.body(f'post{number}').id for number in range(len(POSTS))]
        self.posts = np.array([(AWAY, y) for y in POSTS]) + rng.uniform(-0.01, 0.01, (3, 2))
        self.start = np.array([AWAY, -0.35]) + rng.uniform(-0.02, 0.02, 2)
        self.goal = np.array([AWAY, 0.33]) + rng.uniform(-0.01, 0.01, 2)
        self._data.qpos[:2] = self._data.ctrl[:2] = inverse(self.start)
        for body, post in zip(self._bodies, self.posts):
            address = self._model.jnt_qposadr[self._model.body_jntadr[body]]
            self._data.qpos[address:address + 2] = post
        mujoco.mj_forward(self._model, self._data)
        self.steps, self.limit = 0, round(PATIENCE * len(plan(self, (1, 1, 1))))
        self.success = self.fallen = False

    @property
    def over(self) -> bool:
        """There, a post down, or out of time."""
        return self.success or self.fallen or self.steps >= self.limit

    def joints(self) -> np.ndarray:
        """Return shoulder and elbow."""
        return self._data.qpos[:2].copy()

    def hand(self) -> np.ndarray:
        """Return where the hand is [2]."""
        return self._data.site('hand').xpos[:2].copy()

    def state(self) -> np.ndarray:
        """Return the joints' velocities [2], and where posts and goal are from the hand [8]."""
        places = np.array([*self.posts, self.goal]) - self.hand()
        return np.concatenate((self._data.qvel[:2], places.ravel())).astype(np.float32)

    def observe(self) -> Observation:
        """Return joints and state."""
        return Observation(self.steps * PERIOD_NS, self.joints().astype(np.float32), {},
                           self.state(), INSTRUCTION, {})

    def step(self, action: np.ndarray) -> None:
        """Go on by one tick."""
        self._data.ctrl[:] = action
        mujoco.mj_step(self._model, self._data, round(1 / RATE / self._model.opt.timestep))
        self.steps += 1
        leaning = self._data.xmat[self._bodies, 8] < np.cos(TILTED)
        moved = np.linalg.norm(self._data.xpos[self._bodies][:, :2] - self.posts, axis=1) > MOVED
        self.fallen = self.fallen or bool(leaning.any() or moved.any())
        there = np.linalg.norm(self.hand() - self.goal) < REACHED
        self.success = bool(there and not self.fallen)


@cache
def _model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(MODEL)


def plan(world: PostWorld, sides: Sequence[int]) -> np.ndarray:
    """Return the expert's way of the hand [T, 2], past each post on its side (-1 or 1)."""
    length = world.goal[1] - world.start[1]
    ramp = 4  # ticks to gather speed, and to lose it
    ticks = int(np.ceil(length / SPEED * RATE)) + ramp
    speeds = np.minimum(1, np.minimum(np.arange(1, ticks + 1), np.arange(ticks, 0, -1)) / ramp)
    y = world.start[1] + length * np.cumsum(speeds) / speeds.sum()
    knots = np.array([world.start, *world.posts, world.goal])
    x = np.interp(y, knots[:, 1], knots[:, 0])
    for side, post in zip(sides, world.posts):
        away = (np.abs(y - post[1]) - BESIDE) / (SWERVE - BESIDE)  # 1 where the swerve begins
        x = x + side * ASIDE * smooth(1 - away)
    return np.stack((x, y), -1)


def demonstrations(count: int) -> list[Demonstration]:
    """Return the expert's episodes; every choice of sides as often as any other."""
    return [demonstrate(seed, [1 if seed >> post & 1 else -1 for post in range(len(POSTS))])
            for seed in range(count)]


def demonstrate(seed: int, sides: Sequence[int]) -> Demonstration:
    """Return one episode; pushed off the plan on the way, and led back to it."""
    world, rng = PostWorld(seed), np.random.default_rng([seed, 11])
    way, push = plan(world, sides), np.zeros(2)
    joints, states, actions, sent = [], [], [], inverse(way[0])
    for target in (*way, *np.repeat(way[-1:], 8, 0)):
        if rng.random() < PAUSES:  # unseen: what is learned is how to go on from there
            for _ in range(rng.integers(3, 11)):
                world.step(sent)
        joints.append(world.joints())
        states.append(world.state())
        actions.append(inverse(target))
        push = 0.8 * push + 0.6 * NOISE * rng.standard_normal(2)
        sent = inverse(target + push)
        world.step(sent)
    return Demonstration(np.array(joints), np.array(states), np.array(actions), INSTRUCTION)


def task(root: Path) -> Task:
    """Return the task."""
    joints = (JointSpec('shoulder', -3.0, 3.0, 6.0, 200.0),
              JointSpec('elbow', 0.0, 2.8, 6.0, 200.0))
    state = ['shoulder_speed', 'elbow_speed']
    state += [f'{what}_{axis}' for what in ('post_0', 'post_1', 'post_2', 'goal') for axis in 'xy']
    robot = RobotSpec('posts', 'a planar arm of two joints', joints, (), RATE,
                      state_names=tuple(state), home=(0.0, 1.0))
    return Task('posts', robot, PostWorld, demonstrations, demonstrations=300, steps=4000,
                input_noise=0.01, edition=sha256_bytes(Path(__file__).read_bytes())[:6])

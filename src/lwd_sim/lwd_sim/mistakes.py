# SPDX-License-Identifier: Apache-2.0
"""Drivers that do not simply demonstrate: a flawed policy, one who is disturbed and recovers, one
who gives up, one who plays. Each yields (action [14], source) for the present state of a World.
"""
from collections.abc import Callable, Iterator

import numpy as np

from lwd_sim.collect import ARM_MASK
from lwd_sim.episode import SOURCE_HUMAN, SOURCE_POLICY
from lwd_sim.expert import Expert
from lwd_sim.geometry import gripper_rotation
from lwd_sim.goals import Goal, Slot
from lwd_sim.kinematics import reach
from lwd_sim.names import ARMS, HOME, jaw_index
from lwd_sim.world import World

Driver = Iterator[tuple[np.ndarray, int]]
NOISE = 0.01                  # rad, of a steady hand: beyond .02 the expert begins to fail
SHAKY = (.005, .01, .02, .03)
BURST = (6, 25)               # control steps of wrong motion
SPREAD = 0.08                 # rad of it
FREEZE = (10, 40)             # control steps in which nothing is done
WANDER = (15, 50)             # control steps towards one place while playing
ROOM = ((-.4, .1), (.18, .48), (.05, .3))   # m, where the left arm plays; the right one mirrored


def demonstrate(world: World, rng: np.random.Generator, noise: float = NOISE) -> Driver:
    """Yield a person's actions: the expert's with a little noise."""
    expert = Expert(world.task)
    while True:
        yield expert.act(world) + noise * ARM_MASK * rng.standard_normal(14), SOURCE_HUMAN


def flawed(world: World, rng: np.random.Generator) -> Driver:
    """Yield a policy's actions that drift, let go, or hesitate, now and then or often."""
    expert, noise, rate = Expert(world.task), rng.choice(SHAKY), rng.choice([.004, .01, .03])
    while True:
        for _ in range(int(rng.geometric(rate))):
            yield expert.act(world) + noise * ARM_MASK * rng.standard_normal(14), SOURCE_POLICY
        yield from _mishap(world, expert, rng)


def recover(world: World, rng: np.random.Generator) -> Driver:
    """Yield a policy's mishap somewhere on the way, then a person's correction, to the end."""
    expert = Expert(world.task)
    for _ in range(int(rng.integers(5, max(20, world.task.usual_time)))):
        yield expert.act(world) + NOISE * ARM_MASK * rng.standard_normal(14), SOURCE_POLICY
    yield from _mishap(world, expert, rng)
    yield from demonstrate(world, rng)


def abort(world: World, rng: np.random.Generator) -> Driver:
    """Yield a demonstration that is given up half way: the arms go home."""
    person = demonstrate(world, rng)
    for _ in range(int(rng.integers(world.task.usual_time // 5, world.task.usual_time))):
        yield next(person)
    for _ in range(int(rng.integers(*FREEZE))):
        yield _towards_home(world), SOURCE_HUMAN


def play(world: World, rng: np.random.Generator) -> Driver:
    """Yield what a person does who tries things out: anything put anywhere, and wandering."""
    expert = Expert(world.task)
    while True:
        if rng.random() < 0.6:
            goal = _any_goal(world, rng)
            for _ in range(int(rng.integers(*WANDER)) * 2):
                yield (expert.towards(world, goal)
                       + NOISE * ARM_MASK * rng.standard_normal(14), SOURCE_HUMAN)
        else:
            yield from _wander(world, rng)


def _any_goal(world: World, rng: np.random.Generator) -> Goal:
    """Return a goal of the task, or anything small to be put anywhere on the table."""
    small = [item.name for item in world.task.items if item.kind in ('box', 'cylinder')]
    if rng.random() < 0.3:
        return world.task.goals[int(rng.integers(len(world.task.goals)))]
    item = small[int(rng.integers(len(small)))]
    arm = ARMS[int(world.item_pose(item)[0][0] > 0.0)]
    x, y = rng.uniform(.08, .36), rng.uniform(.22, .4)
    place = Slot((-x if arm == 'left' else x, y, 0.0), (.03, .03), 'table', clearance=.12)
    return Goal(item, place, 'single', (arm,))


def _mishap(world: World, expert: Expert, rng: np.random.Generator) -> Driver:
    kind = rng.choice(['drift', 'drift', 'jaw', 'freeze'])
    if kind == 'freeze':
        held = _hold(world)
        for _ in range(int(rng.integers(*FREEZE))):
            yield held, SOURCE_POLICY
        return
    offset = SPREAD * ARM_MASK * rng.standard_normal(14)
    arm, jaw = ARMS[int(rng.integers(2))], float(rng.random() > 0.3)
    for _ in range(int(rng.integers(*BURST))):
        action = expert.act(world)
        if kind == 'drift':
            action = action + rng.random() * offset
        else:
            action[jaw_index(arm)] = jaw
        yield action, SOURCE_POLICY


def _wander(world: World, rng: np.random.Generator) -> Driver:
    """Yield both arms' way to any place, jaws open or shut."""
    places, jaws = {}, {}
    for arm in ARMS:
        x, y, z = (rng.uniform(*bounds) for bounds in ROOM)
        places[arm] = np.array([x if arm == 'left' else -x, y, z])
        jaws[arm] = float(rng.choice([0.02, 0.98]))
    rotation = gripper_rotation(rng.uniform(0.3, 0.8), rng.uniform(-.4, .4))
    for _ in range(int(rng.integers(*WANDER))):
        commands = [np.append(reach(world, arm, places[arm], rotation), jaws[arm])
                    for arm in ARMS]
        yield np.concatenate(commands), SOURCE_HUMAN


def _hold(world: World) -> np.ndarray:
    action = world.joints()
    for arm in ARMS:
        action[jaw_index(arm)] = world.jaw_command(arm)
    return action


def _towards_home(world: World) -> np.ndarray:
    joints = world.joints()
    action = joints + np.clip(HOME - joints, -.1, .1)
    for arm in ARMS:
        action[jaw_index(arm)] = 1.0
    return action


DRIVERS: dict[str, Callable[[World, np.random.Generator], Driver]] = {
    'demonstration': demonstrate, 'rollout': flawed, 'recovery': recover, 'aborted': abort,
    'play': play}

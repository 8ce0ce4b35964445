# SPDX-License-Identifier: Apache-2.0
"""How far a task is: the stage of the goal being worked on, and how much of that stage is done.

This is what a watching person judges by. It is never a reward.
"""
from dataclasses import dataclass

import numpy as np

from lwd_sim.expert import MEET, TAKER_REACH
from lwd_sim.grasping import grasp_of, holds
from lwd_sim.names import ARMS
from lwd_sim.tasks import Goal
from lwd_sim.world import World

FAR = 0.4            # m, distance that counts as nothing done
AT_MEETING = 0.04    # m from the meeting point: the taker's turn
STAGES = {'single': ('reach', 'carry', 'let go'), 'both': ('reach', 'carry', 'let go'),
          'door': ('reach', 'pull', 'let go'),
          'handover': ('reach', 'offer', 'take', 'carry', 'let go')}


@dataclass(frozen=True)
class Progress:
    """`stage` counts over all goals of the task; `fraction` in [0, 1] is done of this stage."""

    stage: int
    fraction: float
    stages: int
    name: str

    @property
    def value(self) -> float:
        """Return the whole task's progress in [0, 1]."""
        return min(1.0, (self.stage + self.fraction) / self.stages)


def progress(world: World) -> Progress:
    """Return how far the world is."""
    goals = world.task.goals
    total = sum(len(STAGES[goal.how]) for goal in goals)
    if world.success():
        return Progress(total, 0.0, total, 'done')
    goal = world.focus()
    # Only what comes before: that the box is closed counts for nothing before it is filled.
    index = next(index for index, other in enumerate(goals) if other is goal)
    before = sum(len(STAGES[other.how]) for other in goals[:index])
    stage, fraction = {'single': _single, 'door': _single, 'both': _both,
                       'handover': _handover}[goal.how](world, goal)
    return Progress(before + stage, float(fraction), total, STAGES[goal.how][stage])


def _nearness(first: np.ndarray, second: np.ndarray) -> float:
    return 1.0 - min(1.0, float(np.linalg.norm(np.asarray(first) - second)) / FAR)


def _reaching(world: World, goal: Goal, arm: str) -> float:
    return _nearness(world.tcp(arm)[0], grasp_of(world, goal, arm).point)


def _carrying(world: World, goal: Goal) -> float:
    target = world.target(goal) + [0.0, 0.0, world.half_height(goal.item)]
    return _nearness(world.item_pose(goal.item)[0], target)


def _letting_go(world: World, goal: Goal) -> float:
    return 1.0 - 0.25 * sum(world.pads_touching(arm, goal.item) for arm in ARMS)


def _single(world: World, goal: Goal) -> tuple[int, float]:
    arm = goal.arms[0]
    if world.in_slot(goal):
        return 2, _letting_go(world, goal)
    if holds(world, goal, arm):
        return 1, _carrying(world, goal)
    return 0, _reaching(world, goal, arm)


def _both(world: World, goal: Goal) -> tuple[int, float]:
    if world.in_slot(goal):
        return 2, _letting_go(world, goal)
    held = [holds(world, goal, arm) for arm in goal.arms]
    if all(held):
        return 1, _carrying(world, goal)
    return 0, np.mean([1.0 if firm else _reaching(world, goal, arm)
                       for arm, firm in zip(goal.arms, held)])


def _handover(world: World, goal: Goal) -> tuple[int, float]:
    giver, taker = goal.arms
    position, _ = world.item_pose(goal.item)
    if world.in_slot(goal):
        return 4, _letting_go(world, goal)
    if holds(world, goal, taker):
        return 3, _carrying(world, goal)
    if holds(world, goal, giver):
        if np.linalg.norm(position - MEET) < AT_MEETING:
            return 2, _reaching(world, goal, taker)
        return 1, _nearness(position, MEET)
    return 0, _reaching(world, goal, giver if position[0] < TAKER_REACH else taker)

# SPDX-License-Identifier: Apache-2.0
"""A scripted expert: a function from the state of the world to the next action, without memory.

Which motion applies is read off what holds the item and where it is, so that the expert can start
or take over anywhere and that an imitator who sees the state can know what it knows.
"""
import numpy as np

from lwd_sim.geometry import clip_norm, gripper_rotation, ramp
from lwd_sim.grasping import grasp_of, holds, offset
from lwd_sim.kinematics import reach
from lwd_sim.names import ARMS
from lwd_sim.skills import (
    carry,
    carry_step,
    CLOSED,
    Command,
    grasp,
    home,
    OPEN,
    pull_step,
    release,
    set_down,
    wait,
)
from lwd_sim.tasks import get_task, Goal, place_of, Task
from lwd_sim.world import World

MEET = np.array([0.08, 0.36, 0.22])     # m, where an item is handed over: on the taker's side
NEAR_ITEM = 0.06                        # m, tool this near to a released item backs off first
NEAR_WALLS = 0.08                       # m, the same where walls stand around it
RELAY = np.array([0.16, 0.31])          # m, where an item that leans is put down for the taker
LEANING = 0.5                           # rad; the taker's grasp is for upright items
TAKER_REACH = 0.05                      # m, items right of this x are for the right arm alone


class Expert:
    """The expert for one task."""

    def __init__(self, task: str | Task) -> None:
        self.task = task if isinstance(task, Task) else get_task(task)

    def act(self, world: World) -> np.ndarray:
        """Return the action [14] for the world's present state."""
        return self.towards(world, world.focus())

    def towards(self, world: World, goal: Goal) -> np.ndarray:
        """Return the action [14] that works on this goal, whichever is next."""
        commands = {'single': _single, 'door': _single, 'both': _both,
                    'handover': _handover}[goal.how](world, goal)
        return np.concatenate([np.append(*commands[arm]) for arm in ARMS])


def _leave(world: World, goal: Goal, arm: str) -> Command:
    """Let go of a placed item; go home once clear of it."""
    wanted = grasp_of(world, goal, arm)
    _, _, delta = offset(world, arm, wanted)
    walls = goal.how == 'door' or bool(place_of(goal).frame)
    if np.linalg.norm(delta) < (NEAR_WALLS if walls else NEAR_ITEM):
        return release(world, arm, goal.item, wanted.half_width, walls,
                       upwards=bool(place_of(goal).frame))
    return home(world, arm)


def _single(world: World, goal: Goal) -> dict[str, Command]:
    arm = goal.arms[0]
    commands = {other: home(world, other) for other in ARMS}
    if set_down(world, goal):
        commands[arm] = _leave(world, goal, arm)
    elif holds(world, goal, arm):
        commands[arm] = _pull(world, goal) if goal.how == 'door' else carry(
            world, arm, carry_step(world, goal), pitch=goal.pitch)
    else:
        commands[arm] = grasp(world, arm, grasp_of(world, goal, arm))
    return commands


def _pull(world: World, goal: Goal) -> Command:
    """Pull a door by its handle: follow where the handle will be."""
    arm = goal.arms[0]
    wanted = grasp_of(world, goal, arm)
    tool, _ = world.tcp(arm)
    firm = ramp(world.jaw_effort(arm), 0.2, 0.7)
    step = firm * pull_step(world, goal) + 0.2 * (wanted.point - tool)
    return reach(world, arm, tool + step, wanted.rotation, 0.03), CLOSED


def _both(world: World, goal: Goal) -> dict[str, Command]:
    if set_down(world, goal):
        return {arm: _leave(world, goal, arm) for arm in ARMS}
    held = {arm: holds(world, goal, arm) for arm in ARMS}
    if not all(held.values()):
        return {arm: wait(world, arm, CLOSED) if held[arm] else
                grasp(world, arm, grasp_of(world, goal, arm)) for arm in ARMS}
    firm = min(ramp(world.jaw_effort(arm), 0.2, 0.7) for arm in ARMS)
    return {arm: _carry_handle(world, goal, arm, firm) for arm in ARMS}


def _carry_handle(world: World, goal: Goal, arm: str, firm: float) -> Command:
    """Carry a crate by one handle: follow where the handle will be, so the arms stay together."""
    wanted = grasp_of(world, goal, arm)
    tool, _ = world.tcp(arm)
    # 0.2: close the gap to the handle's own pose slowly, the pads may sit anywhere on it.
    step = firm * carry_step(world, goal) + 0.2 * (wanted.point - tool)
    yaw = np.arctan2(-wanted.rotation[0, 0], wanted.rotation[1, 0])
    centre, _ = world.item_pose(goal.item)
    turn = -0.05 * firm * yaw
    arm_vector = wanted.point - centre
    step[:2] += turn * np.array([-arm_vector[1], arm_vector[0]])
    rotation = gripper_rotation(np.arcsin(-wanted.rotation[2, 0]), yaw + turn)
    return reach(world, arm, tool + step, rotation, 0.03), CLOSED


def _handover(world: World, goal: Goal) -> dict[str, Command]:
    giver, taker = goal.arms
    if set_down(world, goal):
        return {giver: home(world, giver), taker: _leave(world, goal, taker)}
    if holds(world, goal, taker):
        return _take_away(world, goal)
    if holds(world, goal, giver):
        leaning = world.tilt(goal.item) > LEANING
        return _relay(world, goal) if leaning else _offer(world, goal)
    position, _ = world.item_pose(goal.item)
    if position[0] < TAKER_REACH:
        return {giver: grasp(world, giver, grasp_of(world, goal, giver)),
                taker: home(world, taker)}
    return {giver: _leave(world, goal, giver),
            taker: grasp(world, taker, grasp_of(world, goal, taker))}


def _offer(world: World, goal: Goal) -> dict[str, Command]:
    """Giver brings the item to the meeting point; taker waits beside it, then grasps."""
    giver, taker = goal.arms
    position, _ = world.item_pose(goal.item)
    to_meet = MEET - position
    height = ramp(position[2], 0.10, 0.15)
    step = np.array([*(height * clip_norm(to_meet[:2], 0.02)),
                     np.clip(to_meet[2], -0.02, 0.02)])
    arrived = ramp(float(np.linalg.norm(to_meet)), 0.05, 0.02)
    wanted = grasp_of(world, goal, taker)
    near = grasp(world, taker, wanted)
    standby = wanted.point + (1.0 - arrived) * to_meet - 0.09 * wanted.rotation[:, 0]
    if arrived < 1.0:
        taking = reach(world, taker, standby, wanted.rotation), OPEN
    else:
        taking = near
    return {giver: carry(world, giver, step), taker: taking}


def _take_away(world: World, goal: Goal) -> dict[str, Command]:
    """Giver lets go and backs off; taker waits for that, then carries."""
    giver, taker = goal.arms
    wanted = grasp_of(world, goal, giver)
    _, _, delta = offset(world, giver, wanted)
    distance = float(np.linalg.norm(delta))
    clear = ramp(distance, 0.02, 0.05)
    if distance < NEAR_ITEM:
        giving = release(world, giver, goal.item, wanted.half_width)
    else:
        giving = home(world, giver)
    return {giver: giving, taker: carry(world, taker, clear * carry_step(world, goal))}


def _relay(world: World, goal: Goal) -> dict[str, Command]:
    """Put a leaning item down on the table in the taker's reach."""
    giver, taker = goal.arms
    position, _ = world.item_pose(goal.item)
    aside = RELAY - position[:2]
    distance = float(np.linalg.norm(aside))
    gap = position[2] - world.half_height(goal.item)
    if distance < 0.04 and gap < 0.012:
        giving = release(world, giver, goal.item, grasp_of(world, goal, giver).half_width)
    else:
        needed = 0.04 * ramp(distance, 0.02, 0.05)
        across = ramp(gap, needed - 0.03, needed - 0.01) * clip_norm(aside, 0.02)
        step = np.array([*across, np.clip(needed - 0.004 - gap, -0.012, 0.02)])
        giving = carry(world, giver, step, yaw_decay=1.0)
    return {giver: giving, taker: home(world, taker)}

# SPDX-License-Identifier: Apache-2.0
"""Memoryless motions of one arm: grasp, carry, release. Each is a smooth field over the state.

Thresholds are funnels (a target that slides with the error), not phases, so that nothing has to be
remembered, nothing chatters at a border, and an imitator sees all the expert sees.
"""
import numpy as np

from lwd_sim.geometry import clip_norm, gripper_rotation, ramp, rotation_error, UP
from lwd_sim.goals import PITCH
from lwd_sim.grasping import Grasp, jaw_width, offset
from lwd_sim.kinematics import go_home, reach, swing
from lwd_sim.names import JAW_TRAVEL
from lwd_sim.props import handle_at
from lwd_sim.tasks import Goal, place_of
from lwd_sim.world import OVERTURN, World

# Just inside the jaw's limits: the command guard brakes before a limit, it passes these at once.
OPEN, CLOSED = 0.98, 0.02
FAR = 0.12               # m, from there on the tool moves straight
STANDOFF = 0.08          # m before the grasp while not lined up
CARRY_STEP = 0.025       # m per control step
LOWER_STEP = 0.012
LOADED_STEP = 0.012
OPENING = 0.1            # jaw asked to be wider than a grip asks for
NEARLY_DOWN = 0.02       # m above the surface
PULL_TURN = 0.1          # rad a door is turned in a control step
ROOM = 0.026             # m the pads stand off an item they approach among others
NARROW = 0.012           # m the pads open beyond the item where there is little room
RETREAT = 0.05           # m back from a released item
OPENED = (0.75, 0.95)    # jaw between which backing off begins
TOUCHING = 0.1           # share of that while a pad still touches it: a hooked crate comes along

Command = tuple[np.ndarray, float]   # joint targets [6], jaw


def grasp(world: World, arm: str, wanted: Grasp) -> Command:
    """Move to the grasp along its approach line and close there."""
    along, aside, _ = offset(world, arm, wanted)
    tool, rotation = world.tcp(arm)
    turn = float(np.linalg.norm(rotation_error(rotation, wanted.rotation)))
    approach = wanted.rotation[:, 0]
    behind = STANDOFF * max(ramp(aside, 0.008, 0.05), ramp(turn, 0.1, 0.4))
    target = wanted.point - behind * approach
    if world.task.travel:
        target = _over_walls(world.task.travel, tool, target)
    # Past the item or beside it: rise and come back instead of sweeping through it.
    blocked = ramp(along, -0.07, -0.03) * ramp(aside, 0.025, 0.05)
    away = tool + 0.06 * UP - 0.04 * approach
    target = (1.0 - blocked) * target + blocked * away
    if world.task.travel and np.linalg.norm(tool - target) > FAR:
        return swing(world, arm, target, wanted.rotation), _close(world, arm, wanted)
    speed = 0.010 + 0.020 * ramp(float(np.linalg.norm(tool - wanted.point)), 0.03, 0.10)
    return reach(world, arm, target, wanted.rotation, speed), _close(world, arm, wanted)


def _over_walls(height: float, tool: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return where to go [3]: up, over, down, while the target is aside; there when it is near."""
    rise = ramp(float(np.linalg.norm(target[:2] - tool[:2])), 0.05, 0.10)
    free = max(1.0 - rise, ramp(tool[2], height - 0.06, height - 0.02))
    over = tool + free * (target - tool)
    over[2] = max(target[2], rise * height)
    return over


def _close(world: World, arm: str, wanted: Grasp) -> float:
    """Return the jaw for a grasp: closed where the item is between the pads, else open."""
    along, aside, _ = offset(world, arm, wanted)
    _, rotation = world.tcp(arm)
    turn = float(np.linalg.norm(rotation_error(rotation, wanted.rotation)))
    missed = jaw_width(world, arm) < wanted.half_width - 0.006
    wide = opening(world, wanted)
    scale = wide / OPEN
    # What the closing jaw pushes must not make it open again: the zone widens as it closes.
    slack = wanted.slack + 1.5 * ramp(world.jaw(arm), 0.85 * scale, 0.6 * scale)
    inside = abs(along) < 0.012 * slack and aside < 0.010 * slack and turn < 0.2 * slack
    return CLOSED if inside and not missed else wide


def opening(world: World, wanted: Grasp) -> float:
    """Return how far the jaw opens for a grasp: wide, or as little as there is room for."""
    if not world.task.travel:
        return OPEN
    return min(OPEN, (wanted.half_width + ROOM) / JAW_TRAVEL)


def carry_step(world: World, goal: Goal) -> np.ndarray:
    """Return the next displacement [3] of a held item towards its slot: up, over, down."""
    position, _ = world.item_pose(goal.item)
    slot = place_of(goal)
    aside = world.target(goal)[:2] - position[:2]
    gap = world.gap(goal)
    needed = slot.clearance * ramp(float(np.linalg.norm(aside)), 0.012, 0.04)
    if slot.front is not None:      # in line with the slot before going in
        depth = aside[1] * ramp(abs(aside[0]), 0.03, 0.012) + (slot.front - position[1]) * ramp(
            abs(aside[0]), 0.012, 0.03)
        aside[1] = min(aside[1], depth)
    free = ramp(gap, needed - 0.03, needed - 0.01)
    speed = CARRY_STEP if not loaded(world, goal) else LOADED_STEP
    across = free * clip_norm(aside, speed)
    down = LOWER_STEP if needed < slot.clearance else CARRY_STEP
    lift = float(np.clip(needed - 0.004 - gap, -down, speed))
    return np.array([across[0], across[1], lift])


def loaded(world: World, goal: Goal) -> bool:
    """Tell whether the goal's item is a crate for other items: faster, they would slide in it."""
    return any(place_of(other).frame == goal.item for other in world.task.goals)


def pull_step(world: World, goal: Goal) -> np.ndarray:
    """Return the next displacement [3] of a door's handle on its way open."""
    angle = world.angle(goal.item)
    turn = min(PULL_TURN, goal.opened + OVERTURN + 0.1 - angle)
    return np.array(handle_at(angle + turn)) - handle_at(angle)


def carry(world: World, arm: str, step: np.ndarray, yaw_decay: float = 0.95,
          pitch: float = PITCH) -> Command:
    """Move the tool by `step` as far as the grip is firm, turning the item straight."""
    tool, rotation = world.tcp(arm)
    yaw = np.arctan2(-rotation[0, 0], rotation[1, 0])
    firm = ramp(world.jaw_effort(arm), 0.2, 0.7)
    wanted = gripper_rotation(pitch, yaw_decay * yaw)
    return reach(world, arm, tool + firm * step, wanted, CARRY_STEP), CLOSED


def set_down(world: World, goal: Goal) -> bool:
    """Tell whether the item may be let go: it stands in its slot, or all but stands there while a
    jaw is opening already. Without that margin a wobbling arm would open and close by turns.
    """
    if world.in_slot(goal):
        return True
    opening = any(world.jaw_command(arm) > OPENING and world.pads_touching(arm, goal.item)
                  for arm in goal.arms)
    return opening and world.over_slot(goal) and abs(world.gap(goal)) < NEARLY_DOWN


def release(world: World, arm: str, item: str, half_width: float, narrow: bool = False,
            upwards: bool = False) -> Command:
    """Open, and back off along the approach, or upwards, as soon as the pads have let go.

    `narrow`: open no further than needed, for there are walls or other items beside.
    """
    tool, rotation = world.tcp(arm)
    free = ramp(jaw_width(world, arm), half_width + 0.002, half_width + 0.010)
    if not narrow:   # how far it is open shows in the joints, what it touches does not: a policy
        free *= ramp(world.jaw(arm), *OPENED)   # that sees only those can learn to wait for it
    if world.pads_touching(arm, item):
        free *= TOUCHING
    jaw = min(OPEN, (half_width + NARROW) / JAW_TRAVEL) if narrow else OPEN
    away = UP if upwards else -rotation[:, 0]
    return reach(world, arm, tool + free * RETREAT * away, rotation, 0.02), jaw


def home(world: World, arm: str) -> Command:
    """Go home; from between walls straight up first."""
    joints = go_home(world, arm)
    if world.task.travel:
        tool, rotation = world.tcp(arm)
        up = ramp(tool[2], world.task.travel, world.task.travel - 0.04)
        if up:
            joints = joints + up * (reach(world, arm, tool + RETREAT * UP, rotation) - joints)
    return joints, OPEN


def wait(world: World, arm: str, jaw: float) -> Command:
    """Stay where the arm is."""
    tool, rotation = world.tcp(arm)
    return reach(world, arm, tool, rotation, 0.005), jaw

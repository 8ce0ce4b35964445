# SPDX-License-Identifier: Apache-2.0
"""Memoryless motions of one arm: grasp, carry, release. Each is a smooth field over the state.

Thresholds are funnels (a target that slides with the error), not phases, so that nothing has to be
remembered, nothing chatters at a border, and an imitator sees all the expert sees.
"""
import numpy as np

from lwd_sim.geometry import clip_norm, gripper_rotation, ramp, rotation_error, UP
from lwd_sim.grasping import Grasp, jaw_width, offset, PITCH
from lwd_sim.kinematics import reach
from lwd_sim.tasks import Goal, SLOTS
from lwd_sim.world import World

# Just inside the jaw's limits: the command guard brakes before a limit, it passes these at once.
OPEN, CLOSED = 0.98, 0.02
STANDOFF = 0.08          # m before the grasp while not lined up
CLEARANCE = 0.05         # m above the goal's surface while carrying
CARRY_STEP = 0.025       # m per control step
LOWER_STEP = 0.012
OPENING = 0.1            # jaw asked to be wider than a grip asks for
NEARLY_DOWN = 0.02       # m above the surface
RETREAT = 0.05           # m back from a released item
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
    # Past the item or beside it: rise and come back instead of sweeping through it.
    blocked = ramp(along, -0.07, -0.03) * ramp(aside, 0.025, 0.05)
    away = tool + 0.06 * UP - 0.04 * approach
    target = (1.0 - blocked) * target + blocked * away
    speed = 0.010 + 0.020 * ramp(float(np.linalg.norm(tool - wanted.point)), 0.03, 0.10)
    return reach(world, arm, target, wanted.rotation, speed), _close(world, arm, wanted)


def _close(world: World, arm: str, wanted: Grasp) -> float:
    """Return the jaw for a grasp: closed where the item is between the pads, else open."""
    along, aside, _ = offset(world, arm, wanted)
    _, rotation = world.tcp(arm)
    turn = float(np.linalg.norm(rotation_error(rotation, wanted.rotation)))
    missed = jaw_width(world, arm) < wanted.half_width - 0.006
    # What the closing jaw pushes must not make it open again: the zone widens as it closes.
    slack = wanted.slack + 1.5 * ramp(world.jaw(arm), 0.85, 0.6)
    inside = abs(along) < 0.012 * slack and aside < 0.010 * slack and turn < 0.2 * slack
    return CLOSED if inside and not missed else OPEN


def carry_step(world: World, goal: Goal) -> np.ndarray:
    """Return the next displacement [3] of a held item towards its slot: up, over, down."""
    position, _ = world.item_pose(goal.item)
    aside = np.array(SLOTS[goal.slot].position[:2]) - position[:2]
    gap = world.gap(goal)
    needed = CLEARANCE * ramp(float(np.linalg.norm(aside)), 0.012, 0.04)
    free = ramp(gap, needed - 0.03, needed - 0.01)
    across = free * clip_norm(aside, CARRY_STEP)
    down = LOWER_STEP if needed < CLEARANCE else CARRY_STEP
    lift = float(np.clip(needed - 0.004 - gap, -down, CARRY_STEP))
    return np.array([across[0], across[1], lift])


def carry(world: World, arm: str, step: np.ndarray, yaw_decay: float = 0.95) -> Command:
    """Move the tool by `step` as far as the grip is firm, turning the item straight."""
    tool, rotation = world.tcp(arm)
    yaw = np.arctan2(-rotation[0, 0], rotation[1, 0])
    firm = ramp(world.jaw_effort(arm), 0.2, 0.7)
    wanted = gripper_rotation(PITCH, yaw_decay * yaw)
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


def release(world: World, arm: str, item: str, half_width: float) -> Command:
    """Open, and back off along the approach as soon as the pads have let go."""
    tool, rotation = world.tcp(arm)
    free = ramp(jaw_width(world, arm), half_width + 0.002, half_width + 0.010)
    if world.pads_touching(arm, item):
        free *= TOUCHING
    return reach(world, arm, tool - free * RETREAT * rotation[:, 0], rotation, 0.02), OPEN


def wait(world: World, arm: str, jaw: float) -> Command:
    """Stay where the arm is."""
    tool, rotation = world.tcp(arm)
    return reach(world, arm, tool, rotation, 0.005), jaw

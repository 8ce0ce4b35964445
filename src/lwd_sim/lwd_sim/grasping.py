# SPDX-License-Identifier: Apache-2.0
"""Where and how an item is grasped, and whether it is: geometry that expert and state share."""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lwd_sim.geometry import gripper_rotation, UP, wrap
from lwd_sim.goals import PITCH
from lwd_sim.kinematics import misfit
from lwd_sim.names import JAW_TRAVEL
from lwd_sim.props import HANDLE_HALF_WIDTH, HANDLE_REACH, KNOBBED
from lwd_sim.tasks import Goal
from lwd_sim.world import World

LYING_PITCHES = tuple(np.deg2rad([45, 60, 75]))   # a lying item is grasped from above
UPRIGHT = 0.8                # cosine of an item's tilt below which it lies


@dataclass(frozen=True)
class Grasp:
    """A pose to close the jaw at, and half the width [m] the jaw then has between its pads."""

    point: np.ndarray        # [3]
    rotation: np.ndarray     # [3, 3]
    half_width: float
    slack: float = 1.0       # how much less exactly than usual the tool may meet it


def grasp_of(world: World, goal: Goal, arm: str) -> Grasp:
    """Return how this arm grasps the goal's item as it lies now."""
    position, rotation = world.item_pose(goal.item)
    item = world.item(goal.item)
    if item.kind == 'crate':
        return _handle(position, rotation, item.size, arm)
    if item.kind == 'door':
        # Half way between the door's direction and straight on: both ends are within reach.
        yaw = 0.5 * world.angle(goal.item)
        return Grasp(position, gripper_rotation(goal.pitch, yaw), item.size[0])
    if abs(rotation[2, 2]) < UPRIGHT:
        return _lying(world, goal, arm)
    height = _grasp_height(world, goal, arm)
    if item.kind == 'cylinder':
        return Grasp(position + height * UP, gripper_rotation(goal.pitch), item.size[0])
    square = np.isclose(item.half_sizes[0], item.half_sizes[1])
    knob = item.kind in KNOBBED
    yaw = wrap(np.arctan2(rotation[1, 0], rotation[0, 0]), np.pi / 2 if square or knob else np.pi)
    wanted = gripper_rotation(goal.pitch, yaw)
    if knob:
        return Grasp(world.grip_point(goal.item), wanted, HANDLE_HALF_WIDTH)
    return Grasp(position + height * UP, wanted, item.half_sizes[0])


def _grasp_height(world: World, goal: Goal, arm: str) -> float:
    """Return the height above the item's centre; in a handover the giver leaves the top free."""
    half = world.half_height(goal.item)
    if goal.how == 'handover':
        return -min(0.04, 0.5 * half) if arm == goal.arms[0] else min(0.045, 0.55 * half)
    return min(0.3 * half, 0.015)


def _handle(position: np.ndarray, rotation: np.ndarray, size: tuple, arm: str) -> Grasp:
    side = -1.0 if arm == 'left' else 1.0
    yaw = wrap(np.arctan2(rotation[1, 0], rotation[0, 0]), np.pi)
    # The handle on this arm's side, whichever way round the crate lies.
    direction = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    point = position + side * (size[0] + HANDLE_REACH) * direction + (size[2] + 0.035) * UP
    return Grasp(point, gripper_rotation(PITCH, yaw), HANDLE_HALF_WIDTH)


def _lying(world: World, goal: Goal, arm: str) -> Grasp:
    """Grasp a toppled item across its longest axis, from the side this arm reaches best."""
    position, rotation = world.item_pose(goal.item)
    half_sizes = world.item(goal.item).half_sizes
    long_axis = rotation[:, int(np.argmax(half_sizes))]
    heading = float(np.arctan2(long_axis[1], long_axis[0])) - np.pi / 2
    # Rounded: the choice must not flicker with the last bit of the pose, and is worth caching.
    key = (world, arm, *np.round(position, 2).tolist(), round(wrap(heading, np.pi), 1))
    pitch, flip = _best_side(*key)
    yaw = wrap(heading, np.pi) + flip
    return Grasp(position, gripper_rotation(pitch, yaw), min(half_sizes), 1.5)


@lru_cache(maxsize=256)
def _best_side(world: World, arm: str, x: float, y: float, z: float, yaw: float
               ) -> tuple[float, float]:
    """Return the pitch and the turn (0 or half a turn) from which the arm reaches best."""
    point = np.array([x, y, z])
    sides = [(pitch, flip) for pitch in LYING_PITCHES for flip in (0.0, np.pi, -np.pi)]
    misfits = [misfit(world, arm, point, gripper_rotation(pitch, yaw + flip))
               for pitch, flip in sides]
    return sides[int(np.argmin(misfits))]


def offset(world: World, arm: str, grasp: Grasp) -> tuple[float, float, np.ndarray]:
    """Return the tool's offset from the grasp: along the approach [m] (behind is negative),
    its distance from the approach line [m], and the whole offset [3].
    """
    delta = world.tcp(arm)[0] - grasp.point
    along = float(delta @ grasp.rotation[:, 0])
    return along, float(np.linalg.norm(delta - along * grasp.rotation[:, 0])), delta


def holds(world: World, goal: Goal, arm: str) -> bool:
    """Tell whether the arm holds the goal's item between its pads."""
    if world.jaw_command(arm) > 0.5:
        return False
    return world.pads_touching(arm, goal.item) == 2 and world.jaw_effort(arm) > 0.0


def jaw_width(world: World, arm: str) -> float:
    """Return half the measured distance between the pads [m]."""
    return world.jaw(arm) * JAW_TRAVEL

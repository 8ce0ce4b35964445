# SPDX-License-Identifier: Apache-2.0
"""The privileged state observation: one layout for every task, all that the expert decides by.

'item' is the item of the goal being worked on, 'grasp' where that arm would grasp it; positions in
metres in the cell's frame, or in the gripper's frame where the name says so.
"""
import numpy as np

from lwd_sim.geometry import rotation_error
from lwd_sim.grasping import grasp_of
from lwd_sim.names import ARMS
from lwd_sim.tasks import Goal
from lwd_sim.world import World


def _names(prefix: str, *fields: str) -> tuple[str, ...]:
    return tuple(f'{prefix}/{field}' for field in fields)


def _arm_names(arm: str) -> tuple[str, ...]:
    return (_names(f'{arm}/tcp', 'x', 'y', 'z')
            + _names(f'{arm}/approach', 'x', 'y', 'z')
            + _names(f'{arm}/jaw_axis', 'x', 'y', 'z')
            + _names(f'{arm}/jaw', 'open', 'command', 'effort', 'pads_on_item')
            + _names(f'{arm}/grasp_in_gripper', 'x', 'y', 'z', 'rx', 'ry', 'rz'))


STATE_NAMES = (
    *(name for arm in ARMS for name in _arm_names(arm)),
    *_names('item', 'x', 'y', 'z', 'x_axis/x', 'x_axis/y', 'x_axis/z',
            'z_axis/x', 'z_axis/y', 'z_axis/z'),
    *_names('goal', 'x', 'y', 'z'),
    *_names('item_to_goal', 'x', 'y', 'gap'),
    *_names('item', 'supported', 'in_slot'))


def state_vector(world: World) -> np.ndarray:
    """Return the state observation, float32 [len(STATE_NAMES)]."""
    goal = world.focus()
    return np.concatenate([*(_arm(world, goal, arm) for arm in ARMS), _item(world, goal)]
                          ).astype(np.float32)


def _arm(world: World, goal: Goal, arm: str) -> np.ndarray:
    tool, rotation = world.tcp(arm)
    wanted = grasp_of(world, goal, arm)
    jaw = (world.jaw(arm), world.jaw_command(arm), world.jaw_effort(arm),
           0.5 * world.pads_touching(arm, goal.item))
    return np.concatenate([
        tool, rotation[:, 0], rotation[:, 1], jaw, rotation.T @ (wanted.point - tool),
        rotation.T @ rotation_error(rotation, wanted.rotation)])


def _item(world: World, goal: Goal) -> np.ndarray:
    position, rotation = world.item_pose(goal.item)
    target = world.target(goal)
    flags = world.supported(goal.item), world.in_slot(goal)
    return np.concatenate([
        position, rotation[:, 0], rotation[:, 2], target, target[:2] - position[:2],
        [world.gap(goal)], np.array(flags, dtype=float)])

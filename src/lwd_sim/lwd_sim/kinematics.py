# SPDX-License-Identifier: Apache-2.0
"""Resolved-rate control of an arm: where to send the joints now to move the tool towards a pose.

Memoryless: a target is the measured position plus a lead, so that the same state always gives the
same action and a fresh controller can take over anywhere.
"""
import mujoco
import numpy as np

from lwd_sim.geometry import clip_norm, rotation_error
from lwd_sim.names import HOME_ARM
from lwd_sim.world import World

LEAD = 1.5               # the servo covers about 1/LEAD of the lead in a control step
DAMPING = 0.02           # of the pseudo-inverse, for singular postures
ROTATION_WEIGHT = 0.35   # m/rad: how much a wrong direction counts beside a wrong position
MAX_TURN = 0.12          # rad of tool rotation per control step
MAX_JOINT_STEP = 0.08    # rad per control step
POSTURE_GAIN = 0.02      # pull towards the home posture in the null space
# A wrist turned further than this sits in its other branch, where the rate control ends at a limit.
TWISTED = np.array([9.0, 9.0, 9.0, 1.35, 9.0, 1.35])   # rad
IK_STEPS = 25


def reach(world: World, arm: str, position: np.ndarray, rotation: np.ndarray,
          speed: float = 0.03) -> np.ndarray:
    """Return joint targets [6] that move the tool to the pose at up to `speed` m per step."""
    joints = world.arm_positions(arm)
    if (np.abs(joints) > TWISTED).any():
        return _towards(joints, solve(world, arm, position, rotation))
    current, current_rotation = world.tcp(arm)
    jacobian = world.jacobian(arm)
    jacobian[3:] *= ROTATION_WEIGHT
    turn = clip_norm(rotation_error(current_rotation, rotation), MAX_TURN)
    error = np.concatenate([clip_norm(position - current, speed), ROTATION_WEIGHT * turn])
    square = jacobian @ jacobian.T + DAMPING**2 * np.eye(6)
    posture = POSTURE_GAIN * (HOME_ARM - joints)
    step = posture + jacobian.T @ np.linalg.solve(square, error - jacobian @ posture)
    largest = np.abs(step).max()
    step *= min(1.0, MAX_JOINT_STEP / max(largest, 1e-9))
    return np.clip(joints + LEAD * step, *world.joint_limits.T)


def go_home(world: World, arm: str) -> np.ndarray:
    """Return joint targets [6] on the straight way home."""
    return _towards(world.arm_positions(arm), HOME_ARM)


def swing(world: World, arm: str, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return joint targets [6] on the way to a far pose, through the joints: no rate control, which
    near a straight wrist may end in the branch where the pose is out of reach.
    """
    return _towards(world.arm_positions(arm), solve(world, arm, position, rotation))


def _towards(joints: np.ndarray, goal: np.ndarray) -> np.ndarray:
    return joints + np.clip(goal - joints, -LEAD * MAX_JOINT_STEP, LEAD * MAX_JOINT_STEP)


def solve(world: World, arm: str, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return joint positions [6] near the home posture whose tool is at (or nearest to) the pose.

    Always starts from home: the answer depends on the pose only, and lies in home's branch.
    """
    data = world.scratch()
    joints = HOME_ARM.copy()
    for _ in range(IK_STEPS):
        error, jacobian = _tool_error(world, data, arm, joints, position, rotation)
        square = jacobian @ jacobian.T + DAMPING * np.eye(6)
        step = clip_norm(jacobian.T @ np.linalg.solve(square, error), 0.5)
        joints = np.clip(joints + step, *world.joint_limits.T)
    return joints


def misfit(world: World, arm: str, position: np.ndarray, rotation: np.ndarray) -> float:
    """Return how far [m, turns weighted] the arm stays from a pose it tries to reach from home."""
    joints = solve(world, arm, position, rotation)
    error, _ = _tool_error(world, world.scratch(), arm, joints, position, rotation)
    return float(np.linalg.norm(error))


def _tool_error(world: World, data: mujoco.MjData, arm: str, joints: np.ndarray,
                position: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted pose error [6] at these joints and the weighted Jacobian [6, 6]."""
    tool, current, jacobian = world.tool_at(data, arm, joints)
    jacobian[3:] *= ROTATION_WEIGHT
    turn = ROTATION_WEIGHT * rotation_error(current, rotation)
    return np.concatenate([position - tool, turn]), jacobian

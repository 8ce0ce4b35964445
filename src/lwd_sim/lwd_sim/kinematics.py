# SPDX-License-Identifier: Apache-2.0
"""Resolved-rate control of an arm: where to send the joints now to move the tool towards a pose.

Memoryless: a target is the measured position plus a lead, so that the same state always gives the
same action and a fresh controller can take over anywhere.
"""
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


def reach(world: World, arm: str, position: np.ndarray, rotation: np.ndarray,
          speed: float = 0.03) -> np.ndarray:
    """Return joint targets [6] that move the tool to the pose at up to `speed` m per step."""
    current, current_rotation = world.tcp(arm)
    jacobian = world.jacobian(arm)
    jacobian[3:] *= ROTATION_WEIGHT
    turn = clip_norm(rotation_error(current_rotation, rotation), MAX_TURN)
    error = np.concatenate([clip_norm(position - current, speed), ROTATION_WEIGHT * turn])
    square = jacobian @ jacobian.T + DAMPING**2 * np.eye(6)
    joints = world.arm_positions(arm)
    posture = POSTURE_GAIN * (HOME_ARM - joints)
    step = posture + jacobian.T @ np.linalg.solve(square, error - jacobian @ posture)
    largest = np.abs(step).max()
    step *= min(1.0, MAX_JOINT_STEP / max(largest, 1e-9))
    return np.clip(joints + LEAD * step, *world.joint_limits.T)


def go_home(world: World, arm: str) -> np.ndarray:
    """Return joint targets [6] on the straight way home."""
    joints = world.arm_positions(arm)
    return joints + np.clip(HOME_ARM - joints, -LEAD * MAX_JOINT_STEP, LEAD * MAX_JOINT_STEP)

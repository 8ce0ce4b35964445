# SPDX-License-Identifier: Apache-2.0
"""Names and constants of the simulated robot that every module shares."""
import numpy as np

ARMS = ('left', 'right')
ARM_JOINTS = ('waist', 'shoulder', 'elbow', 'forearm_roll', 'wrist_angle', 'wrist_rotate')
JOINT_NAMES = tuple(f'{arm}/{joint}' for arm in ARMS for joint in (*ARM_JOINTS, 'jaw'))
CAMERAS = ('head', 'left_wrist', 'right_wrist')

CONTROL_RATE = 25.0      # Hz
TIMESTEP = 0.004         # s of physics
SUBSTEPS = 10            # physics steps per control step
JAW_TRAVEL = 0.055       # m each finger moves from closed to fraction open = 1
JAW_SLEW = 0.2           # fraction open per control step: how fast the driver moves the jaw target
JAW_FORCE = 12.0         # N, cap of the jaw servo
TCP_OFFSET = 0.1347      # m from the gripper body to the point between the pads

HOME_ARM = np.array([0.0, -0.9, 1.2, 0.0, -0.1, 0.0])
HOME = np.concatenate([HOME_ARM, [1.0], HOME_ARM, [1.0]])   # [14]


def arm_slice(arm: str) -> slice:
    """Return where this arm's six joints lie in an action; its jaw follows them."""
    start = 7 * ARMS.index(arm)
    return slice(start, start + 6)


def jaw_index(arm: str) -> int:
    """Return where this arm's jaw lies in an action."""
    return 7 * ARMS.index(arm) + 6

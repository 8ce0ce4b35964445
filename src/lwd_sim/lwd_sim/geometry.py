# SPDX-License-Identifier: Apache-2.0
"""Small rotation helpers. Rotations are [3, 3] matrices, angles radians."""
import numpy as np

UP = np.array([0.0, 0.0, 1.0])


def axis_rotation(axis: int, angle: float) -> np.ndarray:
    """Return the rotation by `angle` about the x (0), y (1) or z (2) axis."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[i, i], rotation[i, j], rotation[j, i], rotation[j, j] = c, -s, s, c
    return rotation


def gripper_rotation(pitch: float, yaw: float = 0.0) -> np.ndarray:
    """Return a gripper that points away from the robot (+y), turned by yaw, tipped down by pitch.

    Columns: approach direction, jaw axis, gripper's up.
    """
    return axis_rotation(2, np.pi / 2 + yaw) @ axis_rotation(1, pitch)


def rotation_error(current: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the rotation vector [3] that turns `current` into `wanted`, in the world frame."""
    delta = wanted @ current.T
    sine = 0.5 * np.array([delta[2, 1] - delta[1, 2], delta[0, 2] - delta[2, 0],
                           delta[1, 0] - delta[0, 1]])
    norm = np.linalg.norm(sine)
    angle = np.arctan2(norm, 0.5 * (np.trace(delta) - 1.0))
    return sine * (angle / norm) if norm > 1e-9 else sine


def wrap(angle: float, period: float) -> float:
    """Return the angle modulo `period`, nearest to zero."""
    return (angle + period / 2) % period - period / 2


def clip_norm(vector: np.ndarray, limit: float) -> np.ndarray:
    """Return the vector, shortened to at most `limit`."""
    norm = np.linalg.norm(vector)
    return vector if norm <= limit else vector * (limit / norm)


def ramp(value: float, start: float, end: float) -> float:
    """Return 0 up to `start`, 1 from `end`, linear between (either direction)."""
    return float(np.clip((value - start) / (end - start), 0.0, 1.0))

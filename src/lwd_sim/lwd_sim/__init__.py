# SPDX-License-Identifier: Apache-2.0
"""A simulated dual-arm robot, its tasks, and a scripted operator who can do them."""
import os

# MuJoCo reads this once, at its import; EGL renders with and without a GPU and needs no display.
os.environ.setdefault('MUJOCO_GL', 'egl')

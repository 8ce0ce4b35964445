# SPDX-License-Identifier: Apache-2.0
"""OpenArm v2 in MuJoCo: the model of the PyPI package openarm-mujoco, at a table, with two marks.

Its visual meshes are left out: what is drawn are the collision meshes, so that a model compiles in
a second or two instead of half a minute.
"""
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import mujoco

from lwd_core.robot import RobotSpec
from lwd_core.spec import SpecError

ARMS = ('left', 'right')
ARM_DOF = 7
SITE = '{}_ee_control_point'
TARGET = '{}_target'
COLORS = {'left': (0.9, 0.1, 0.1, 1.0), 'right': (0.1, 0.3, 0.9, 1.0)}
TARGET_RADIUS = 0.025    # m
TABLE_TOP = -0.5         # m below the shoulders
TIMESTEP = 0.004         # s of physics
CAMERAS = {'left_wrist': 'camera_wrist_left', 'right_wrist': 'camera_wrist_right'}


def model_path(robot: RobotSpec) -> Path:
    """Return the file that `mjcf: package://openarm_mujoco/...` names."""
    try:
        package = import_module('openarm_mujoco.v2')  # optional: by name
    except ImportError as error:
        raise SpecError(f'robot {robot.name!r}: mjcf: openarm_mujoco is not installed: '
                        'make setup EXTRAS=1') from error
    relative = str(robot.mjcf).removeprefix('package://openarm_mujoco/v2/')
    path = Path(package.asset_path(relative))
    if not path.is_file():
        raise SpecError(f'robot {robot.name!r}: mjcf: {path} does not exist')
    return path


@lru_cache(maxsize=2)
def compile_model(path: Path) -> mujoco.MjModel:
    """Return the scene's model."""
    spec = mujoco.MjSpec.from_file(str(path))
    _strip(spec)
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    for body in spec.bodies[1:]:
        body.gravcomp = 1.0  # as OpenArm's own driver does
    for ours, theirs in CAMERAS.items():
        spec.camera(theirs).name = ours
    _furnish(spec)
    return spec.compile()


def _strip(spec: mujoco.MjSpec) -> None:
    """Drop what is only looked at, and the meshes that nothing uses any more."""
    for geom in list(spec.geoms):
        if not geom.contype and not geom.conaffinity:
            spec.delete(geom)
        else:
            geom.group = 2  # of what is drawn
            geom.rgba = (0.75, 0.75, 0.78, 1.0)
    used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in used:
            spec.delete(mesh)


def _furnish(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    world.add_light(pos=(0.3, 0.0, 1.5), dir=(0.0, 0.0, -1.0), castshadow=False)
    world.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=(0.5, 0.0, TABLE_TOP - 0.02),
                   size=(0.35, 0.6, 0.02), rgba=(0.25, 0.22, 0.2, 1.0))
    world.add_camera(name='head', pos=(-0.05, 0.0, 0.25), fovy=65.0,
                     xyaxes=(0.0, -1.0, 0.0, 0.77, 0.0, 0.64))
    for arm in ARMS:
        mark = world.add_body(name=TARGET.format(arm), mocap=True)
        mark.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(TARGET_RADIUS, 0.0, 0.0),
                      rgba=COLORS[arm], contype=0, conaffinity=0)

# SPDX-License-Identifier: Apache-2.0
"""What a robot is: joints with limits, cameras, control rate; read from one YAML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from lwd_core.spec import check_number, check_unique, Fields, load_yaml, SpecError
from lwd_core.workspace import WorkspaceSpec

__all__ = ['CameraSpec', 'JointSpec', 'RobotSpec', 'SpecError']

COMMAND_INTERFACES = ('joint_trajectory', 'forward_command')
MAX_CONTROL_RATE = 1000.0  # Hz; a DDS hop costs 0.1 to 0.4 ms
MAX_SMOOTHING = 0.5  # s over which commands are averaged for a jerk limit
MAX_IMAGE_SIDE = 4096  # px
# Sources of observations and how old a sample may be at a tick before the robot must hold [s].
DEFAULT_MAX_AGE = {'joint_states': 0.1, 'camera': 0.2, 'state_observation': 0.1}


@dataclass(frozen=True)
class JointSpec:
    """One actuated joint. Units: rad, rad/s, rad/s^2; jaws: fraction open in [0, 1] and per s."""

    name: str
    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float | None = None  # rad/s^3; None: not limited

    @classmethod
    def from_dict(cls, data: Any, where: str) -> JointSpec:
        """Validate one entry of `joints`."""
        fields = Fields(data, where)
        name = fields.name('name')
        fields.where = f'{where} ({name})'
        lower = fields.number('lower')
        upper = fields.number('upper')
        if not lower < upper:
            raise fields.error('lower', f'is {lower:g}, must be below upper, which is {upper:g}')
        acceleration = fields.number('acceleration', above=0.0)
        joint = cls(name, lower, upper, fields.number('velocity', above=0.0), acceleration,
                    _jerk(fields, acceleration))
        fields.done()
        return joint


@dataclass(frozen=True)
class CameraSpec:
    """One camera; its topic is camera/<name>/image/compressed. Size in px, rate in Hz."""

    name: str
    width: int
    height: int
    rate: float

    @classmethod
    def from_dict(cls, data: Any, where: str) -> CameraSpec:
        """Validate one entry of `cameras`."""
        fields = Fields(data, where)
        name = fields.name('name')
        fields.where = f'{where} ({name})'
        camera = cls(name, fields.integer('width', 1, MAX_IMAGE_SIDE),
                     fields.integer('height', 1, MAX_IMAGE_SIDE),
                     fields.number('rate', above=0.0, at_most=MAX_CONTROL_RATE))
        fields.done()
        return camera


@dataclass(frozen=True)
class RobotSpec:
    """A robot as policies, guard, recorder and learner see it.

    The order of `joints` is the order of every action and joint vector.
    """

    name: str
    model: str
    joints: tuple[JointSpec, ...]
    cameras: tuple[CameraSpec, ...]
    control_rate: float  # Hz
    command_interface: str = 'joint_trajectory'
    state_names: tuple[str, ...] = ()
    home: tuple[float, ...] = ()  # one per joint, in its units
    mjcf: str | None = None
    max_observation_age: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_MAX_AGE))
    workspace: WorkspaceSpec | None = None  # needs mjcf

    @property
    def action_dim(self) -> int:
        """Return d, the number of actuated joints."""
        return len(self.joints)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Return the d joint names in action order."""
        return tuple(joint.name for joint in self.joints)

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Return the camera names in file order."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def period_ns(self) -> int:
        """Return the control period in ns."""
        return round(1e9 / self.control_rate)

    @property
    def digest(self) -> str:
        """Return the sha256 of what a policy depends on; two robots of one model share it."""
        relevant = {
            'joints': [[joint.name, joint.lower, joint.upper] for joint in self.joints],
            'cameras': [[camera.name, camera.width, camera.height] for camera in self.cameras],
            'control_rate': self.control_rate,
            'state_names': list(self.state_names),
        }
        text = json.dumps(relevant, sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(text.encode()).hexdigest()

    def require_joints(self, names: Iterable[str], where: str) -> None:
        """Raise SpecError unless `names`, found at `where`, hold every joint of this robot."""
        available = list(names)
        missing = [name for name in self.joint_names if name not in available]
        if missing:
            raise SpecError(f'{where}: has no joint {", ".join(missing)}, which robot '
                            f'{self.name!r} needs; it has {", ".join(available) or "none"}')

    def require_cameras(self, names: Iterable[str], where: str) -> None:
        """Raise SpecError unless this robot has every camera in `names`, asked for by `where`."""
        missing = [name for name in names if name not in self.camera_names]
        if missing:
            raise SpecError(f'{where}: needs camera {", ".join(missing)}; robot {self.name!r} has '
                            f'{", ".join(self.camera_names) or "none"}')

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` reads back equal."""
        data = json.loads(json.dumps(asdict(self)))
        assert isinstance(data, dict)
        return data

    @classmethod
    def from_yaml(cls, path: str | Path) -> RobotSpec:
        """Read and validate a robot file."""
        return cls.from_dict(load_yaml(path), where=str(path))

    @classmethod
    def from_dict(cls, data: Any, where: str = 'robot') -> RobotSpec:
        """Validate plain data; `where` names its origin in errors."""
        fields = Fields(data, where)
        joints = tuple(JointSpec.from_dict(item, f'{where}: joints[{i}]')
                       for i, item in enumerate(fields.sequence('joints')))
        if not joints:
            raise fields.error('joints', 'is empty, must name at least one joint')
        cameras = tuple(CameraSpec.from_dict(item, f'{where}: cameras[{i}]')
                        for i, item in enumerate(fields.sequence('cameras')))
        check_unique((joint.name for joint in joints), f'{where}: joints')
        check_unique((camera.name for camera in cameras), f'{where}: cameras')
        state_names = tuple(str(name) for name in fields.sequence('state_names', []))
        check_unique(state_names, f'{where}: state_names')
        spec = cls(
            name=fields.name('name'), model=fields.text('model'), joints=joints, cameras=cameras,
            control_rate=fields.number('control_rate', above=0.0, at_most=MAX_CONTROL_RATE),
            command_interface=fields.choice(
                'command_interface', COMMAND_INTERFACES, 'joint_trajectory'),
            state_names=state_names, home=_home(fields, joints), mjcf=_mjcf(fields),
            max_observation_age=_max_age(fields, cameras),
            workspace=WorkspaceSpec.from_dict(
                fields.take('workspace', None), f'{where}: workspace'))
        fields.done()
        if spec.workspace is not None and spec.mjcf is None:
            raise fields.error('workspace', 'needs mjcf, the model that tells where the arms are')
        return spec


def _jerk(fields: Fields, acceleration: float) -> float | None:
    if (value := fields.take('jerk', None)) is None:
        return None
    jerk = check_number(value, f'{fields.where}: jerk', above=0.0)
    if 2.0 * acceleration > jerk * MAX_SMOOTHING:
        raise fields.error('jerk', f'is {jerk:g}, must be at least '
                           f'{2.0 * acceleration / MAX_SMOOTHING:g} (2 acceleration over '
                           f'{MAX_SMOOTHING:g} s): commands would lag too far behind')
    return jerk


def _home(fields: Fields, joints: tuple[JointSpec, ...]) -> tuple[float, ...]:
    """Take the home posture: a mapping by joint name, or a list in joint order."""
    value = fields.take('home', None)
    if value is None:
        return tuple(min(max(0.0, joint.lower), joint.upper) for joint in joints)
    names = [joint.name for joint in joints]
    if isinstance(value, Mapping):
        wrong = [name for name in value if name not in names]
        if wrong:
            raise fields.error('home', f'has joint {wrong[0]!r}, joints are {", ".join(names)}')
        missing = [name for name in names if name not in value]
        if missing:
            raise fields.error('home', f'lacks joint {", ".join(missing)}')
        value = [value[name] for name in names]
    if not isinstance(value, (list, tuple)) or len(value) != len(joints):
        raise fields.error('home', f'is {value!r}, must give {len(joints)} joint positions')
    return tuple(_position(joint, item, f'{fields.where}: home: {joint.name}')
                 for joint, item in zip(joints, value))


def _position(joint: JointSpec, value: Any, where: str) -> float:
    position = check_number(value, where)
    if not joint.lower <= position <= joint.upper:
        raise SpecError(f'{where}: is {position:g}, must be from {joint.lower:g} to '
                        f'{joint.upper:g}')
    return position


def _mjcf(fields: Fields) -> str | None:
    return None if (value := fields.take('mjcf', None)) is None else str(value)


def _max_age(fields: Fields, cameras: tuple[CameraSpec, ...]) -> dict[str, float]:
    """Take the maximum ages [s] by source; 'camera' stands for every camera."""
    ages = dict(DEFAULT_MAX_AGE)
    sources = (*DEFAULT_MAX_AGE, *(f'camera/{camera.name}' for camera in cameras))
    given = fields.take('max_observation_age', {})
    if not isinstance(given, Mapping):
        raise fields.error('max_observation_age', f'is {given!r}, must map sources to seconds')
    for source, value in given.items():
        where = f'{fields.where}: max_observation_age: {source}'
        if source not in sources:
            raise SpecError(f'{where}: is no source, sources are {", ".join(sources)}')
        age = check_number(value, where, above=0.0)
        if math.isclose(age, 0.0):
            raise SpecError(f'{where}: is {value!r}, must be above 0')
        ages[source] = age
    return ages

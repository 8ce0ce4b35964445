# SPDX-License-Identifier: Apache-2.0
"""Where a policy server is, and by which names it knows what the robot sees: one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lwd_core.hashing import sha256_json
from lwd_core.robot import RobotSpec
from lwd_core.spec import Fields, load_yaml, SpecError

LAYOUTS = ('hwc', 'chw')


@dataclass(frozen=True)
class RemoteSpec:
    """One policy server. A dot in a key nests: 'images.cam_high' is {'images': {'cam_high': ...}}.

    The server must return `actions` [at least `horizon`, at least d], whose first d columns are the
    robot's joint targets in its joint order and units.
    """

    url: str
    horizon: int  # rows of a chunk that are used
    images: dict[str, str]  # the server's key by robot camera
    image_size: int = 224  # px, square, padded; 0: as the camera gives them
    layout: str = 'hwc'
    state_key: str = 'state'
    prompt_key: str = 'prompt'
    seed_key: str = ''  # for a server that takes one; the protocol itself has none
    actions_key: str = 'actions'
    timeout: float = 1.0  # s, for a chunk; then the robot holds and the connection is made anew
    connect_timeout: float = 3.0  # s
    api_key_env: str = ''  # environment variable that holds the key; keys stand in no file

    @property
    def digest(self) -> str:
        """Return what stands for the policy in status and records: 64 hex digits."""
        return sha256_json(asdict(self))

    @classmethod
    def from_yaml(cls, path: str | Path, robot: RobotSpec) -> RemoteSpec:
        """Read and validate; raises SpecError naming file, key, value and bound."""
        fields = Fields(load_yaml(path), str(path))
        images = fields.take('images', {})
        if not isinstance(images, Mapping):
            raise fields.error('images', f'is {images!r}, must map cameras to keys')
        robot.require_cameras(images, f'{path}: images')
        spec = cls(
            url=fields.text('url'), horizon=fields.integer('horizon', 1, 1024),
            images={str(name): str(key) for name, key in images.items()},
            image_size=fields.integer('image_size', 0, 4096, 224),
            layout=fields.choice('layout', LAYOUTS, 'hwc'),
            timeout=fields.number('timeout', above=0.0, at_most=60.0, default=1.0),
            connect_timeout=fields.number(
                'connect_timeout', above=0.0, at_most=60.0, default=3.0),
            **{key: str(fields.take(key, default)) for key, default in (
                ('state_key', 'state'), ('prompt_key', 'prompt'), ('seed_key', ''),
                ('actions_key', 'actions'), ('api_key_env', ''))})
        fields.done()
        if not spec.url.startswith(('ws://', 'wss://')):
            raise SpecError(f'{path}: url: is {spec.url!r}, must start with ws:// or wss://')
        return spec

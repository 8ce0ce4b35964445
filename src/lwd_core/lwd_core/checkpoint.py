# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: written by the learner, verified to the last bit before a robot acts with them.

`checkpoints/<step:08d>-<digest12>/` holds policy.safetensors, config.json, normalization.json and,
written last, manifest.json. The digest is the sha256 of the manifest's content in canonical JSON
(without the digest itself), and the manifest holds the sha256 of every other file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
import json
import re
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from lwd_core.checkpoint_checks import (
    check_arrays,
    check_normalization,
    check_robot,
    check_safetensors_header,
    CheckpointError,
)
from lwd_core.hashing import sha256_bytes, sha256_json
from lwd_core.store import Store, StoreError

SCHEMA_VERSION = 1
TENSORS = 'policy.safetensors'
CONFIG = 'config.json'
NORMALIZATION = 'normalization.json'
MANIFEST = 'manifest.json'
_FILES = (TENSORS, CONFIG, NORMALIZATION)
_CHANNEL = re.compile(r'[a-z][a-z0-9_]*')
_DIGEST = re.compile(r'[0-9a-f]{12,64}')

__all__ = [
    'CheckpointContents',
    'CheckpointError',
    'CheckpointRef',
    'list_checkpoints',
    'load_checkpoint',
    'read_channel',
    'save_checkpoint',
    'set_channel',
]


class RobotLike(Protocol):
    """What a checkpoint needs to know of a RobotSpec."""

    @property
    def name(self) -> str:
        """Name of the robot."""

    @property
    def digest(self) -> str:
        """Return the sha256 of what a policy depends on."""

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names in action order."""

    @property
    def control_rate(self) -> float:
        """Return the control rate, Hz."""


@dataclass(frozen=True)
class CheckpointRef:
    """Where a checkpoint is and which one it is."""

    digest: str
    step: int
    uri: str
    robot_digest: str = ''
    created: str = ''


@dataclass
class CheckpointContents:
    """A checkpoint in memory.

    `config` is the policy's (it has `horizon`, control steps, and `action_dim`), `tensors` its
    state_dict (numpy or torch), `normalization` the statistics by input name. `manifest` is filled
    when loaded.
    """

    config: dict[str, Any]
    tensors: Mapping[str, Any]
    normalization: dict[str, Any]
    step: int
    parent: str | None = None
    robot: Any = None
    metrics: dict[str, Any] = field(default_factory=dict)
    kind: str = 'policy'
    manifest: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(
    store: Store, contents: CheckpointContents, created: str | None = None
) -> CheckpointRef:
    """Check `contents`, write them whole, manifest last, and return where they are."""
    tensors = {name: _to_numpy(name, tensor) for name, tensor in contents.tensors.items()}
    _check_contents(contents.config, tensors, contents.normalization, contents.robot.joint_names)
    files = {
        TENSORS: save_tensors(tensors, metadata={'format': 'pt'}),
        CONFIG: _json(contents.config),
        NORMALIZATION: _json(contents.normalization),
    }
    content = _manifest(contents, files, created or _now())
    digest = sha256_json(content)
    uri = f'checkpoints/{contents.step:08d}-{digest[:12]}'
    for name, data in files.items():
        store.put(f'{uri}/{name}', data)
    store.put(f'{uri}/{MANIFEST}', _json({**content, 'digest': digest}))
    return _ref(uri, {**content, 'digest': digest})


def load_checkpoint(
    store: Store,
    ref_or_digest: CheckpointRef | str,
    robot: RobotLike | None = None,
    horizon: int | None = None,
) -> CheckpointContents:
    """Load a checkpoint, verifying everything; tensors are numpy arrays.

    Give `robot` (and `horizon`, control steps) to refuse what was made for another one. Raises
    CheckpointError, naming the checkpoint and the reason.
    """
    uri = _find(store, ref_or_digest)
    try:
        return _load(store, uri, ref_or_digest, robot, horizon)
    except CheckpointError as error:
        raise CheckpointError(f'{uri}: {error}') from error
    except StoreError as error:
        raise CheckpointError(f'{uri}: {error}') from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(f'{uri}: {MANIFEST} lacks or garbles a field: {error!r}') from error


def list_checkpoints(store: Store) -> list[CheckpointRef]:
    """Return the complete checkpoints in the store, oldest step first."""
    refs = []
    for name in store.children('checkpoints'):
        uri = f'checkpoints/{name}'
        try:
            refs.append(_ref(uri, _read_manifest(store, uri)))
        except (CheckpointError, StoreError, KeyError, TypeError):
            continue  # being written, or damaged: load_checkpoint says which
    return sorted(refs, key=lambda ref: (ref.step, ref.created))


def set_channel(store: Store, channel: str, ref: CheckpointRef) -> None:
    """Make `channel` ("stable", "candidate") mean `ref`, replacing the file whole."""
    record = {
        'schema_version': SCHEMA_VERSION,
        'channel': channel,
        'digest': ref.digest,
        'step': ref.step,
        'uri': ref.uri,
        'robot_digest': ref.robot_digest,
        'created': ref.created,
        'updated': _now(),
    }
    store.put(_channel_path(channel), _json(record))


def read_channel(store: Store, channel: str) -> CheckpointRef | None:
    """Return what `channel` means now; None if nobody has set it."""
    path = _channel_path(channel)
    if not store.exists(path):
        return None
    record = _parse(store.get(path), path)
    try:
        return _ref(str(record['uri']), record)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f'{path}: not a channel file ({error!r}): publish again') from error


def _load(
    store: Store,
    uri: str,
    wanted: CheckpointRef | str,
    robot: RobotLike | None,
    horizon: int | None,
) -> CheckpointContents:
    manifest = _read_manifest(store, uri)
    if isinstance(wanted, CheckpointRef) and wanted.digest != manifest['digest']:
        raise CheckpointError(f'digest is {manifest["digest"]}, announced was {wanted.digest}')
    if robot is not None:
        check_robot(manifest, robot.digest, robot.joint_names, robot.control_rate)
    files = {name: _read_file(store, uri, name, manifest['files']) for name in _FILES}
    config, normalization = (_parse(files[name], name) for name in (CONFIG, NORMALIZATION))
    tensors = _parse_tensors(files[TENSORS])
    _check_contents(config, tensors, normalization, tuple(manifest['joint_names']))
    length = manifest['chunk_length']
    for what, value in (("config's horizon", config['horizon']), ('expected', horizon)):
        if value is not None and value != length:
            raise CheckpointError(f'chunk length is {length} in the manifest, {what} is {value}')
    return CheckpointContents(
        config=config,
        tensors=tensors,
        normalization=normalization,
        step=int(manifest['step']),
        parent=manifest.get('parent'),
        robot=robot,
        metrics=dict(manifest.get('metrics', {})),
        kind=str(manifest.get('kind', 'policy')),
        manifest=manifest,
    )


def _check_contents(
    config: dict[str, Any],
    tensors: Mapping[str, np.ndarray],
    normalization: dict[str, Any],
    joint_names: tuple[str, ...],
) -> None:
    for key in ('horizon', 'action_dim'):
        if not isinstance(config.get(key), int) or not 1 <= config[key] <= 1024:
            raise CheckpointError(f'config.{key} is {config.get(key)!r}, must be in [1, 1024]')
    if config['action_dim'] != len(joint_names):
        raise CheckpointError(
            f'config.action_dim is {config["action_dim"]}, the robot has {len(joint_names)} joints'
        )
    check_arrays(tensors)
    check_normalization(normalization, len(joint_names))


def _manifest(
    contents: CheckpointContents, files: dict[str, bytes], created: str
) -> dict[str, Any]:
    robot = contents.robot
    return {
        'schema_version': SCHEMA_VERSION,
        'kind': contents.kind,
        'step': contents.step,
        'parent': contents.parent,
        'created': created,
        'robot': robot.name,
        'robot_digest': robot.digest,
        'joint_names': list(robot.joint_names),
        'action_names': list(robot.joint_names),
        'chunk_length': contents.config['horizon'],
        'rate': float(robot.control_rate),
        'metrics': contents.metrics,
        'files': {
            name: {'sha256': sha256_bytes(data), 'bytes': len(data)}
            for name, data in files.items()
        },
    }


def _read_manifest(store: Store, uri: str) -> dict[str, Any]:
    path = f'{uri}/{MANIFEST}'
    if not store.exists(path):
        raise CheckpointError(f'{MANIFEST} is missing: still being written, or not a checkpoint')
    manifest = _parse(store.get(path), MANIFEST)
    version = manifest.get('schema_version')
    if version != SCHEMA_VERSION:
        raise CheckpointError(
            f'schema version is {version!r}, this software reads {SCHEMA_VERSION}: update it'
        )
    content = {key: value for key, value in manifest.items() if key != 'digest'}
    digest = sha256_json(content)
    if manifest.get('digest') != digest:
        raise CheckpointError(
            f'{MANIFEST} was changed: content has digest {digest}, it says '
            f'{manifest.get("digest")}'
        )
    return manifest


def _read_file(store: Store, uri: str, name: str, files: dict[str, Any]) -> bytes:
    entry = files.get(name)
    if entry is None:
        raise CheckpointError(f'{MANIFEST} does not list {name}')
    if not store.exists(f'{uri}/{name}'):
        raise CheckpointError(f'{name} is missing')
    data = store.get(f'{uri}/{name}')
    if name == TENSORS:
        check_safetensors_header(name, data)
    if len(data) != entry['bytes']:
        raise CheckpointError(f'{name} has {len(data)} bytes, must have {entry["bytes"]}: cut off')
    found = sha256_bytes(data)
    if found != entry['sha256']:
        raise CheckpointError(f'{name} is damaged: sha256 is {found}, must be {entry["sha256"]}')
    return data


def _find(store: Store, wanted: CheckpointRef | str) -> str:
    if isinstance(wanted, CheckpointRef):
        return wanted.uri
    if wanted.startswith('checkpoints/'):
        return wanted
    if not _DIGEST.fullmatch(wanted):
        raise CheckpointError(f'{wanted!r} is no digest: give 12 to 64 hex digits, or a uri')
    for name in store.children('checkpoints'):
        if name.split('-')[-1] == wanted[:12]:
            return f'checkpoints/{name}'
    raise CheckpointError(f'no checkpoint {wanted[:12]} in the store: `lwd checkpoints` lists them')


def _ref(uri: str, record: dict[str, Any]) -> CheckpointRef:
    return CheckpointRef(
        digest=str(record['digest']),
        step=int(record['step']),
        uri=uri,
        robot_digest=str(record.get('robot_digest', '')),
        created=str(record.get('created', '')),
    )


def _channel_path(channel: str) -> str:
    if not _CHANNEL.fullmatch(channel):
        raise CheckpointError(f'channel {channel!r} refused: lower case letters, digits and _ only')
    return f'channels/{channel}.json'


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise CheckpointError(f'{name} is not JSON: {error}') from error
    if not isinstance(value, dict):
        raise CheckpointError(f'{name} holds a {type(value).__name__}, must be an object')
    return value


def _parse_tensors(data: bytes) -> dict[str, np.ndarray]:
    try:
        tensors: dict[str, np.ndarray] = load_tensors(data)
    except (SafetensorError, ValueError, TypeError) as error:
        raise CheckpointError(f'{TENSORS} is not a safetensors file: {error}') from error
    return tensors


def _to_numpy(name: str, tensor: Any) -> np.ndarray:
    if hasattr(tensor, 'detach'):  # torch, without importing it
        tensor = tensor.detach().cpu()
        if str(tensor.dtype) == 'torch.bfloat16':
            raise CheckpointError(f'tensor {name} is bfloat16: convert to float32 before saving')
        tensor = tensor.numpy()
    return np.ascontiguousarray(tensor).reshape(np.shape(tensor))


def _json(value: dict[str, Any]) -> bytes:
    try:
        return json.dumps(value, indent=2, sort_keys=True, allow_nan=False).encode() + b'\n'
    except ValueError as error:
        raise CheckpointError(f'not JSON data ({error}): NaN is written as null') from error


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec='milliseconds')

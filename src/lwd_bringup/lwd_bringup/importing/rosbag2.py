# SPDX-License-Identifier: Apache-2.0
"""A plain rosbag2 recording (mcap or sqlite3, any topic names) as a demonstration."""

from __future__ import annotations

from collections.abc import Callable
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import get_typestore, Stores

from lwd_bringup.export.errors import ExchangeError
from lwd_bringup.importing.demonstration import Demonstration, Source
from lwd_bringup.importing.mapping import check_limits, Mapping
from lwd_core.episode.reader import stamp_ns
from lwd_core.images import decode_raw, encode_jpeg
from lwd_core.robot import RobotSpec

JPEG_QUALITY = 95  # of frames that were raw
MAX_COMMAND_AGE = 0.5  # s: an older command is none
_COMPRESSED, _RAW = 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/Image'
_JOINTS, _TRAJECTORY = 'sensor_msgs/msg/JointState', 'trajectory_msgs/msg/JointTrajectory'
_ARRAY = 'std_msgs/msg/Float64MultiArray'
Say = Callable[[str], None]


def read_rosbag2(path: Path, robot: RobotSpec, mapping: Mapping, task: str, instruction: str,
                 outcome: str, say: Say = lambda line: None) -> Demonstration:
    """Read a bag folder (or one .mcap, .db3 file); ExchangeError naming what is wrong.

    Ticks are 1 / control_rate apart, from the first moment at which every source has a sample.
    Topics that nothing is made of are named by `say`.
    """
    place = path.parent if path.suffix == '.db3' else path
    try:
        with AnyReader([place], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            return _read(reader, path, robot, mapping, task, instruction, outcome, say)
    except (AnyReaderError, OSError) as error:
        raise ExchangeError(f'{path}: cannot be read as a rosbag2 recording: {error}') from error


def _read(reader: Any, path: Path, robot: RobotSpec, mapping: Mapping, task: str,
          instruction: str, outcome: str, say: Say) -> Demonstration:
    wanted = {mapping.joint_states: 'joints', **{
        topic: f'camera/{name}' for name, topic in mapping.cameras.items()}}
    if mapping.command:
        wanted[mapping.command] = 'command'
    found = {connection.topic: connection.msgtype for connection in reader.connections}
    for topic in wanted:
        if topic not in found:
            raise ExchangeError(f'{path}: has no topic {topic!r}, it has '
                                f'{", ".join(sorted(found)) or "none"}: name yours in the mapping')
    for topic in sorted(set(found) - set(wanted)):
        say(f'{topic} ({found[topic]}) is not in the mapping and was left out')
    joints: list[tuple[int, np.ndarray]] = []
    commands: list[tuple[int, np.ndarray]] = []
    images: list[tuple[int, str, bytes]] = []
    digest = hashlib.sha256()
    chosen = [c for c in reader.connections if c.topic in wanted]
    for connection, received, raw in reader.messages(connections=chosen):
        digest.update(raw)
        role = wanted[connection.topic]
        message = _decoded(reader, raw, connection, path)
        stamp = _stamp(message) or received
        where = f'{path}: {connection.topic}'
        if role == 'joints':
            _need(where, connection.msgtype, (_JOINTS,))
            joints.append((stamp, mapping.vector(
                robot, tuple(message.name), message.position, where)))
        elif role == 'command':
            commands.append((stamp, _command(robot, mapping, message, connection.msgtype, where)))
        else:
            _need(where, connection.msgtype, (_COMPRESSED, _RAW))
            data = (bytes(message.data) if connection.msgtype == _COMPRESSED
                    else encode_jpeg(decode_raw(message), JPEG_QUALITY))
            images.append((stamp, role.removeprefix('camera/'), data))
    for kind, samples in (('joint states', joints),
                          *(((f'commands on {mapping.command}', commands),)
                            if mapping.command else ())):
        if not samples:
            raise ExchangeError(f'{path}: holds no {kind}')
        samples.sort(key=lambda pair: pair[0])
        check_limits(robot, [vector for _, vector in samples], f'{path}: {kind}')
    images.sort(key=lambda entry: entry[:2])
    actions = _ticked(robot, joints, commands, images, bool(mapping.command), path)
    source = Source('rosbag2', path.name, digest.hexdigest())
    return Demonstration(source, task, instruction, outcome, joints, images, actions)


def _decoded(reader: Any, raw: bytes, connection: Any, path: Path) -> Any:
    try:
        return reader.deserialize(raw, connection.msgtype)
    except Exception as error:  # rosbags raises its own kinds
        raise ExchangeError(f'{path}: a message of {connection.topic} cannot be decoded as '
                            f'{connection.msgtype}: {error}') from error


def _stamp(message: Any) -> int:
    header = getattr(message, 'header', None)
    return 0 if header is None else stamp_ns(header.stamp)


def _need(where: str, found: str, types: tuple[str, ...]) -> None:
    if found not in types:
        raise ExchangeError(f'{where}: has type {found}, must have {" or ".join(types)}')


def _command(robot: RobotSpec, mapping: Mapping, message: Any, type_: str,
             where: str) -> np.ndarray:
    _need(where, type_, (_TRAJECTORY, _ARRAY, _JOINTS))
    names = mapping.command_joints or tuple(map(mapping.theirs, robot.joint_names))
    if type_ == _ARRAY:
        return mapping.vector(robot, names, message.data, where)
    if type_ == _JOINTS:
        return mapping.vector(robot, tuple(message.name) or names, message.position, where)
    return mapping.vector(robot, tuple(message.joint_names) or names,
                          message.points[0].positions, where)


def _ticked(robot: RobotSpec, joints: list[tuple[int, np.ndarray]],
            commands: list[tuple[int, np.ndarray]], images: list[tuple[int, str, bytes]],
            commanded: bool, path: Path) -> list[tuple[int, np.ndarray]]:
    """Return the action of each tick: the newest command, else where the joints went next."""
    begins = [joints[0][0]] + ([commands[0][0]] if commanded else [])
    cameras = {name for _, name, _ in images}
    begins += [min(stamp for stamp, name, _ in images if name == camera) for camera in cameras]
    period = robot.period_ns
    first = -(-max(begins) // period) * period
    ends = [joints[-1][0] - (0 if commanded else period)] + (
        [commands[-1][0] + period] if commanded else [])
    ticks = np.arange(first, min(ends) + 1, period, dtype=np.int64)
    if len(ticks) < 2:
        raise ExchangeError(f'{path}: its sources overlap for less than two control periods')
    samples = commands if commanded else joints
    stamps = np.array([stamp for stamp, _ in samples], np.int64)
    at = ticks if commanded else ticks + period
    newest = np.searchsorted(stamps, at, 'right') - 1
    actions = []
    for tick, moment, index in zip(ticks.tolist(), at.tolist(), newest.tolist()):
        if moment - int(stamps[index]) > MAX_COMMAND_AGE * 1e9:
            continue  # nobody commanded here: a gap, across which nothing is learned
        actions.append((tick, samples[index][1]))
    if len(actions) < 2:
        raise ExchangeError(f'{path}: has fewer than two ticks with a command')
    return actions

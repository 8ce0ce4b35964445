# SPDX-License-Identifier: Apache-2.0
"""Recorded episodes as a LeRobot v3.0 dataset: one frame a control tick, as the robot saw it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lwd_bringup.audits import seen_with
from lwd_bringup.export import lerobot_format as lr
from lwd_bringup.export.errors import ExchangeError
from lwd_bringup.export.lerobot_writer import LeRobotWriter
from lwd_core.episode import EpisodeData, EpisodeError, EpisodeMeta, read_episode
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec

HUMAN = 2  # lwd_msgs/ExecutedAction.SOURCE_HUMAN
Say = Callable[[str], None]


def export_lerobot(folders: Iterable[Path], out: Path, *, privileged: bool = False,
                   say: Say = lambda line: None) -> tuple[int, int]:
    """Write the episodes in `folders` to the new folder `out`; return (episodes, frames).

    A gap in a recording begins a new dataset episode: frames are `1 / fps` apart throughout. Only
    the last part of a recording ends with `next.done`. privileged: add a simulator's state. An
    episode that cannot be read is named by `say` and left out; other robots than the first
    episode's are an ExchangeError.
    """
    writer: LeRobotWriter | None = None
    robot: RobotSpec | None = None
    count = frames = 0
    try:
        for folder in folders:
            meta = EpisodeMeta.read(folder)
            if robot is None:
                robot = RobotSpec.from_dict(meta.robot_spec, str(folder))
                spec = seen_with(meta, robot)
            _same_robot(folder, meta, robot)
            try:
                data = read_episode(folder, robot, spec, require_outcome=False)
                state = _privileged(folder, robot, data) if privileged else None
            except EpisodeError as error:
                say(f'left out: {error}')
                continue
            if writer is None:
                writer = LeRobotWriter(out, _features(robot, spec, privileged), _fps(robot),
                                       robot.model)
            for start, stop in contiguous(data):
                _add(writer, data, start, stop, state)
                count, frames = count + 1, frames + stop - start
            say(f'{meta.id}: {len(data)} frames')
        if writer is None:
            raise ExchangeError('no episode to export: nothing was written')
    except BaseException as error:
        if writer is not None:
            writer.__exit__(type(error))
        raise
    writer.__exit__(None)
    return count, frames


def contiguous(data: EpisodeData) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of the parts without a gap."""
    ends = [*(np.flatnonzero(data.gaps[:-1]) + 1).tolist(), len(data)]
    yield from zip([0, *ends[:-1]], ends)


def _same_robot(folder: Path, meta: EpisodeMeta, robot: RobotSpec) -> None:
    if meta.robot_digest != robot.digest:
        raise ExchangeError(f'{folder}: was recorded on another robot ({meta.robot_digest[:12]}) '
                            f'than the first episode ({robot.digest[:12]}): export each by itself')


def _fps(robot: RobotSpec) -> int:
    if robot.control_rate != int(robot.control_rate):
        raise ExchangeError(f'control_rate is {robot.control_rate:g} Hz, LeRobot knows whole '
                            'frames a second only')
    return int(robot.control_rate)


def _features(robot: RobotSpec, spec: ObservationSpec, privileged: bool) -> dict[str, Any]:
    names = robot.joint_names
    found = {lr.STATE: lr.vector(names), lr.ACTION: lr.vector(names)}
    if privileged:
        if not robot.state_names:
            raise ExchangeError(f'robot {robot.name!r} has no privileged state')
        found[lr.ENVIRONMENT] = lr.vector(robot.state_names)
    for camera in spec.cameras:
        width, height = spec.image_size
        found[lr.IMAGES + camera] = lr.video(height, width, _fps(robot), 'h264')
    return found | {
        lr.INTERVENTION: lr.scalar('bool'), lr.SOURCE: lr.scalar('int64'),
        lr.REWARD: lr.scalar('float32'), lr.DONE: lr.scalar('bool'),
        lr.SUCCESS: lr.scalar('bool')}


def _privileged(folder: Path, robot: RobotSpec, data: EpisodeData) -> dict[int, np.ndarray]:
    """Return the state by tick."""
    other = read_episode(folder, robot, ObservationSpec.for_robot(robot, 'state'),
                         require_outcome=False, verify=False)
    assert other.state is not None
    found = dict(zip(other.ticks_ns.tolist(), other.state))
    if any(tick not in found for tick in data.ticks_ns.tolist()):
        raise EpisodeError('no_frames', f'{folder}: has no state_observation at some ticks')
    return found


def _add(writer: LeRobotWriter, data: EpisodeData, start: int, stop: int,
         state: dict[int, np.ndarray] | None) -> None:
    length, rows = stop - start, slice(start, stop)
    last = stop == len(data)
    done = np.zeros(length, bool)
    done[-1] = last and data.terminal
    success = done & data.success
    columns: dict[str, np.ndarray] = {
        lr.STATE: data.joints[rows], lr.ACTION: data.actions[rows],
        lr.INTERVENTION: data.source[rows] == HUMAN, lr.SOURCE: data.source[rows].astype(np.int64),
        lr.REWARD: success.astype(np.float32), lr.DONE: done, lr.SUCCESS: success}
    if state is not None:
        columns[lr.ENVIRONMENT] = np.stack([state[int(t)] for t in data.ticks_ns[rows]])
    images = {lr.IMAGES + camera: _frames(data, camera, start, stop) for camera in data.cameras}
    meta = data.meta
    writer.add(columns, images, data.instruction, {
        'lwd/episode_id': meta.id, 'lwd/robot': meta.robot, 'lwd/task': meta.task,
        'lwd/outcome': meta.outcome, 'lwd/started_ns': int(data.ticks_ns[start]),
        'lwd/takeovers': len(meta.interventions),
        'lwd/checkpoint': meta.checkpoints[-1]['digest'] if meta.checkpoints else ''})


def _frames(data: EpisodeData, camera: str, start: int, stop: int) -> Iterator[np.ndarray]:
    for t in range(start, stop):
        yield data.image(camera, t)

# SPDX-License-Identifier: Apache-2.0
"""Episodes of a LeRobot v3.0 dataset as demonstrations."""

from __future__ import annotations

from collections.abc import Iterator
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lwd_bringup.export import lerobot_format as lr
from lwd_bringup.export.errors import ExchangeError
from lwd_bringup.export.video import read_frames
from lwd_bringup.importing.demonstration import Demonstration, Source
from lwd_bringup.importing.mapping import check_limits, Mapping
from lwd_core.images import encode_jpeg, resize
from lwd_core.robot import RobotSpec

JPEG_QUALITY = 95
START_NS = 1_000_000_000  # of tick 0; a dataset has no wall time


class LeRobotSource:
    """A dataset folder; `demonstrations` reads it episode by episode."""

    def __init__(self, root: Path, robot: RobotSpec, mapping: Mapping) -> None:
        """Check version, rate, features; ExchangeError naming what does not fit the robot."""
        self.root, self.robot, self.mapping = root, robot, mapping
        self.info = _info(root)
        self.features: dict[str, Any] = self.info['features']
        if self.info['fps'] != robot.control_rate:
            raise ExchangeError(f'{root}: has {self.info["fps"]} frames a second, robot '
                                f'{robot.name!r} runs at {robot.control_rate:g} Hz')
        self.state = mapping.joint_states if mapping.joint_states in self.features else lr.STATE
        self.action = mapping.command or lr.ACTION
        for name in (self.state, self.action):
            if name not in self.features:
                raise ExchangeError(f'{root}: has no feature {name!r}, it has '
                                    f'{", ".join(self.features)}: name yours in the mapping')
        self.cameras = self._cameras()
        self.episodes = [row for path in sorted((root / 'meta/episodes').glob('*/*.parquet'))
                         for row in pq.read_table(path).to_pylist()]
        self.tasks = _tasks(root)

    def __len__(self) -> int:
        """Count the episodes."""
        return len(self.episodes)

    def _cameras(self) -> dict[str, str]:
        """Return our cameras -> their video features."""
        named = {name: self.mapping.cameras.get(name, lr.IMAGES + name)
                 for name in self.robot.camera_names}
        for name, feature in named.items():
            if name in self.mapping.cameras and feature not in self.features:
                raise ExchangeError(f'{self.root}: has no feature {feature!r} for camera {name}')
        found = {name: feature for name, feature in named.items() if feature in self.features}
        for feature in found.values():
            if self.features[feature]['dtype'] != 'video':
                raise ExchangeError(f'{self.root}: {feature} has dtype '
                                    f'{self.features[feature]["dtype"]}, only video is read')
        return found

    def demonstrations(self, task: str, outcome: str) -> Iterator[Demonstration]:
        """Yield the episodes; `outcome` is that of datasets that do not say (`next.success`)."""
        for row in self.episodes:
            yield self._read(row, task, outcome)

    def _read(self, row: dict[str, Any], task: str, outcome: str) -> Demonstration:
        table = pq.read_table(
            self.root / self.info['data_path'].format(
                chunk_index=row['data/chunk_index'], file_index=row['data/file_index']),
            filters=[('episode_index', '=', row['episode_index'])]).sort_by('frame_index')
        where = f'{self.root}: episode {row["episode_index"]}'
        if table.num_rows != row['length']:
            raise ExchangeError(f'{where}: has {table.num_rows} rows, must have {row["length"]}')
        state, action = self._vectors(table, self.state), self._vectors(table, self.action)
        for name, vectors in ((self.state, state), (self.action, action)):
            check_limits(self.robot, vectors, f'{where}: {name}')
        ticks = [START_NS + t * self.robot.period_ns for t in range(len(state))]
        images, digest = [], hashlib.sha256(np.stack(state + action).tobytes())
        for camera, feature in self.cameras.items():
            for tick, frame in zip(ticks, self._frames(row, feature)):
                spec = next(one for one in self.robot.cameras if one.name == camera)
                data = encode_jpeg(resize(frame, (spec.width, spec.height)), JPEG_QUALITY)
                digest.update(data)
                images.append((tick, camera, data))
        human = (table[lr.SOURCE].to_numpy() == 2).tolist() if lr.SOURCE in table.column_names \
            else []
        return Demonstration(
            Source('lerobot', f'{self.root.name}#{row["episode_index"]}', digest.hexdigest()),
            task, self._instruction(row, table), self._outcome(table, outcome),
            list(zip(ticks, state)), images, list(zip(ticks, action)), human, clock='sim')

    def _vectors(self, table: Any, feature: str) -> list[np.ndarray]:
        names = self.features[feature].get('names')
        if isinstance(names, dict):  # {'motors': [...]} of older writers
            names = next(iter(names.values()))
        given = tuple(names or self.mapping.command_joints
                      or map(self.mapping.theirs, self.robot.joint_names))
        rows = np.stack(table[feature].to_numpy())
        if rows.shape[1] != len(given):
            raise ExchangeError(f'{self.root}: {feature} has {rows.shape[1]} entries, names are '
                                f'{len(given)}')
        return [self.mapping.vector(self.robot, given, values, f'{self.root}: {feature}')
                for values in rows.astype(np.float64)]

    def _frames(self, row: dict[str, Any], feature: str) -> Iterator[np.ndarray]:
        prefix = f'videos/{feature}'
        path = self.root / self.info['video_path'].format(
            video_key=feature, chunk_index=row[f'{prefix}/chunk_index'],
            file_index=row[f'{prefix}/file_index'])
        return read_frames(path, row[f'{prefix}/from_timestamp'], row['length'], self.info['fps'])

    def _instruction(self, row: dict[str, Any], table: Any) -> str:
        names = row.get('tasks') or []
        return str(names[0]) if names else self.tasks[int(table['task_index'][0].as_py())]

    @staticmethod
    def _outcome(table: Any, otherwise: str) -> str:
        if lr.SUCCESS not in table.column_names:
            return otherwise
        done = lr.DONE not in table.column_names or bool(table[lr.DONE].to_numpy()[-1])
        if not done:
            return 'unlabelled'  # the first part of a recording with a gap
        return 'success' if bool(table[lr.SUCCESS].to_numpy()[-1]) else 'failure'


def _info(root: Path) -> dict[str, Any]:
    path = root / lr.INFO
    try:
        info = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ExchangeError(f'{path}: cannot be read: {error}') from error
    if not isinstance(info, dict) or not str(info.get('codebase_version', '')).startswith('v3.'):
        found = info.get('codebase_version') if isinstance(info, dict) else info
        raise ExchangeError(f'{path}: codebase_version is {found!r}, must be v3.x: convert it with '
                            'lerobot first')
    return info


def _tasks(root: Path) -> dict[int, str]:
    table = pq.read_table(root / lr.TASKS)
    texts = next(name for name in table.column_names if name != 'task_index')
    return dict(zip(table['task_index'].to_pylist(), table[texts].to_pylist()))

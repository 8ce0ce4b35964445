# SPDX-License-Identifier: Apache-2.0
"""Write a LeRobot v3.0 dataset episode by episode; only one episode is in memory.

It grows in a folder of another name and gets its own when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import json
import os
from pathlib import Path
import shutil
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwd_bringup.export import lerobot_format as lr
from lwd_bringup.export.errors import ExchangeError
from lwd_bringup.export.statistics import (
    image_stats,
    merged_images,
    sampled,
    vector_stats,
)
from lwd_bringup.export.video import VideoFiles
from lwd_core.store import close_to_others, make_dirs

PARTIAL = '.partial'


class LeRobotWriter:
    """A dataset being written; use as a context manager: an error leaves nothing behind."""

    def __init__(self, folder: Path, features: dict[str, Any], fps: int, robot_type: str) -> None:
        """`features` as in meta/info.json, without the index columns."""
        if folder.exists():
            raise ExchangeError(f'{folder} exists: name a folder that does not, or move it away')
        self.folder = folder
        self.features = {**features, **lr.index_features()}
        self.fps, self.robot_type = fps, robot_type
        self._work = folder.with_name(folder.name + PARTIAL)
        shutil.rmtree(self._work, ignore_errors=True)
        make_dirs(self._work)  # closed to others: what libraries write below shows people
        self._videos = {
            name: VideoFiles(self._work, name, fps, (feature['shape'][1], feature['shape'][0]))
            for name, feature in features.items() if feature['dtype'] == 'video'}
        self._schema = lr.data_schema(self.features)
        self._data: pq.ParquetWriter | None = None
        self._data_file = -1
        self._data_path = self._work
        self._tasks: list[str] = []
        self._episodes: list[dict[str, Any]] = []
        self._frames = 0
        self._vectors: dict[str, list[np.ndarray]] = {}
        self._images: dict[str, list[dict[str, Any]]] = {}

    def __enter__(self) -> LeRobotWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._finish()
        else:
            self._close()
            shutil.rmtree(self._work, ignore_errors=True)

    def add(self, columns: Mapping[str, np.ndarray], images: Mapping[str, Iterator[np.ndarray]],
            task: str, extra: Mapping[str, Any]) -> None:
        """Append one episode of T frames at fps.

        columns: feature -> [T] or [T, n]; images: video feature -> T RGB frames; extra: further
        columns of its row in meta/episodes.
        """
        length = len(columns[lr.ACTION])
        if task not in self._tasks:
            self._tasks.append(task)
        index = np.arange(length)
        whole = {**columns, 'timestamp': (index / self.fps).astype(np.float32),
                 'frame_index': index,
                 'episode_index': np.full(length, len(self._episodes)),
                 'index': self._frames + index,
                 'task_index': np.full(length, self._tasks.index(task))}
        stats = {name: vector_stats(np.asarray(whole[name])) for name in self._schema.names}
        row: dict[str, Any] = {
            'episode_index': len(self._episodes), 'tasks': [task], 'length': length,
            'dataset_from_index': self._frames, 'dataset_to_index': self._frames + length,
            'meta/episodes/chunk_index': 0, 'meta/episodes/file_index': 0, **extra}
        for name, video in self._videos.items():
            kept: list[np.ndarray] = []
            row |= video.add(_keeping(images[name], sampled(length), kept))
            stats[name] = image_stats(kept)
            self._images.setdefault(name, []).append(stats[name])
        row |= self._append(whole)
        row |= {f'stats/{name}/{key}': value for name, one in stats.items()
                for key, value in one.items()}
        self._episodes.append(row)
        self._frames += length
        for name in self._schema.names:
            self._vectors.setdefault(name, []).append(np.asarray(whole[name]))

    def _append(self, columns: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Append rows to the data files; return where."""
        if self._data is None or self._data_path.stat().st_size > lr.DATA_MB * 1e6:
            if self._data is not None:
                self._data.close()
            self._data_file += 1
            self._data_path = self._work / lr.DATA_PATH.format(**lr.file_of(self._data_file))
            self._data_path.parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(self._data_path, self._schema, compression='snappy')
        arrays = [_arrow(columns[field.name], field.type) for field in self._schema]
        self._data.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        return {f'data/{name}': value for name, value in lr.file_of(self._data_file).items()}

    def _finish(self) -> None:
        if not self._episodes:
            self._close()
            shutil.rmtree(self._work, ignore_errors=True)
            raise ExchangeError('no episode to export: nothing was written')
        self._close()
        stats = {name: vector_stats(np.concatenate(parts)) for name, parts in self._vectors.items()}
        stats |= {name: merged_images(parts) for name, parts in self._images.items()}
        meta = lr.info(self.features, self.fps, self.robot_type, len(self._episodes),
                       self._frames, len(self._tasks))
        for name, content in ((lr.INFO, meta), (lr.STATS, stats)):
            path = self._work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=4, allow_nan=False) + '\n')
        pq.write_table(lr.tasks_table(self._tasks), self._work / lr.TASKS)
        path = self._work / lr.EPISODES_PATH.format(**lr.file_of(0))
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), path)
        close_to_others(self._work)
        os.replace(self._work, self.folder)

    def _close(self) -> None:
        for video in self._videos.values():
            video.close()
        if self._data is not None:
            self._data.close()
            self._data = None


def _arrow(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(flat, kind.list_size)
    return pa.array(values, kind)


def _keeping(frames: Iterator[np.ndarray], wanted: np.ndarray,
             kept: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass frames on and keep the `wanted` ones."""
    chosen = set(wanted.tolist())
    for index, frame in enumerate(frames):
        if index in chosen:
            kept.append(frame)
        yield frame

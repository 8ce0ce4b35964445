# SPDX-License-Identifier: Apache-2.0
"""The LeRobot dataset format, version 3.0: names, paths, schemas. Pure.

Source: huggingface/lerobot, `src/lerobot/datasets/utils.py` and its v3.0 documentation. Many
episodes share a file; meta/episodes says in which file and from which row or second each begins.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

VERSION = 'v3.0'
CHUNKS_SIZE = 1000  # files in a folder
DATA_MB, VIDEO_MB = 100, 200  # size at which the next file begins
INFO, STATS, TASKS = 'meta/info.json', 'meta/stats.json', 'meta/tasks.parquet'
DATA_PATH = 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
VIDEO_PATH = 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4'
EPISODES_PATH = 'meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'

STATE, ENVIRONMENT, ACTION = 'observation.state', 'observation.environment_state', 'action'
INTERVENTION, SOURCE = 'intervention', 'source'
REWARD, DONE, SUCCESS = 'next.reward', 'next.done', 'next.success'
IMAGES = 'observation.images.'
INDICES = ('timestamp', 'frame_index', 'episode_index', 'index', 'task_index')
_INDEX_TYPES = dict(zip(INDICES, ('float32', 'int64', 'int64', 'int64', 'int64')))
PANDAS_INDEX = '__index_level_0__'


def vector(names: tuple[str, ...]) -> dict[str, Any]:
    """Return a feature: one float32 per name."""
    return {'dtype': 'float32', 'shape': [len(names)], 'names': list(names)}


def scalar(dtype: str) -> dict[str, Any]:
    """Return a feature of one number."""
    return {'dtype': dtype, 'shape': [1], 'names': None}


def video(height: int, width: int, fps: int, codec: str) -> dict[str, Any]:
    """Return a feature of RGB frames kept as video."""
    return {'dtype': 'video', 'shape': [height, width, 3],
            'names': ['height', 'width', 'channels'],
            'info': {'video.height': height, 'video.width': width, 'video.codec': codec,
                     'video.pix_fmt': 'yuv420p', 'video.is_depth_map': False, 'video.fps': fps,
                     'video.channels': 3, 'has_audio': False}}


def index_features() -> dict[str, Any]:
    """Return the features that every dataset has."""
    return {name: scalar(dtype) for name, dtype in _INDEX_TYPES.items()}


def arrow_type(feature: dict[str, Any]) -> pa.DataType:
    """Return the column type of a feature that is no video."""
    plain = {'bool': pa.bool_(), 'float32': pa.float32(), 'int64': pa.int64()}[feature['dtype']]
    (size,) = feature['shape']
    return plain if feature['names'] is None else pa.list_(plain, size)


def data_schema(features: dict[str, Any]) -> pa.Schema:
    """Return the schema of the data files."""
    return pa.schema([(name, arrow_type(feature)) for name, feature in features.items()
                      if feature['dtype'] != 'video'])


def tasks_table(tasks: list[str]) -> pa.Table:
    """Return meta/tasks.parquet: what pandas reads as a frame indexed by the task's text."""
    def column(name: str | None, field: str, kind: str, numpy: str) -> dict[str, Any]:
        return {'name': name, 'field_name': field, 'pandas_type': kind, 'numpy_type': numpy,
                'metadata': None}
    pandas = {
        'index_columns': [PANDAS_INDEX],
        'column_indexes': [{'name': None, 'field_name': None, 'pandas_type': 'unicode',
                            'numpy_type': 'object', 'metadata': {'encoding': 'UTF-8'}}],
        'columns': [column('task_index', 'task_index', 'int64', 'int64'),
                    column(None, PANDAS_INDEX, 'unicode', 'object')],
        'creator': {'library': 'pyarrow', 'version': pa.__version__}, 'pandas_version': '2.2.0'}
    table = pa.table({'task_index': pa.array(range(len(tasks)), pa.int64()),
                      PANDAS_INDEX: pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({'pandas': json.dumps(pandas)})


def info(features: dict[str, Any], fps: int, robot_type: str, episodes: int, frames: int,
         tasks: int) -> dict[str, Any]:
    """Return meta/info.json."""
    videos = any(feature['dtype'] == 'video' for feature in features.values())
    return {
        'codebase_version': VERSION, 'robot_type': robot_type, 'total_episodes': episodes,
        'total_frames': frames, 'total_tasks': tasks, 'chunks_size': CHUNKS_SIZE,
        'data_files_size_in_mb': DATA_MB, 'video_files_size_in_mb': VIDEO_MB, 'fps': fps,
        'splits': {'train': f'0:{episodes}'}, 'data_path': DATA_PATH,
        'video_path': VIDEO_PATH if videos else None, 'features': features}


def file_of(number: int) -> dict[str, int]:
    """Return chunk and file index of the n-th file of a kind."""
    return {'chunk_index': number // CHUNKS_SIZE, 'file_index': number % CHUNKS_SIZE}

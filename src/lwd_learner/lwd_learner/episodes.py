# SPDX-License-Identifier: Apache-2.0
"""One episode as arrays: what replay holds, and what ingest caches on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
import json
import os
from pathlib import Path
from typing import Any
import zlib

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

SOURCE_HOLD = 0  # = ExecutedAction.SOURCE_*
SOURCE_POLICY = 1
SOURCE_HUMAN = 2
ORIGINS = ('offline', 'online')


class EpisodeArraysError(ValueError):
    """An episode that replay cannot hold; says which array and why."""


@dataclass(frozen=True)
class EpisodeArrays:
    """One episode, one row per control tick.

    `inputs` are the policy's inputs by name ('joints' [T, J], 'state' [T, S], 'features' [T, F]);
    `actions` [T, d] are the executed ones in robot units; `gaps[t]` is True where tick t + 1 does
    not follow tick t. `terminal` says that nothing can follow the last tick (its value is 0).
    """

    episode_id: str
    digest: str  # of the recording, '' for episodes made in process
    task: str
    instruction: NDArray[np.float32]  # [E]
    inputs: dict[str, NDArray[Any]]
    actions: NDArray[np.float32]
    source: NDArray[np.uint8]  # [T]
    gaps: NDArray[np.bool_]  # [T]
    success: bool
    terminal: bool
    origin: str  # 'offline' | 'online'
    recorded_ns: int = 0  # wall time of the recording
    robot_digest: str = ''

    def __post_init__(self) -> None:
        """Refuse what would train silently on nonsense."""
        length = len(self.actions)
        if length == 0:
            raise EpisodeArraysError(f'episode {self.episode_id}: no ticks')
        if self.origin not in ORIGINS:
            raise EpisodeArraysError(
                f"episode {self.episode_id}: origin '{self.origin}' is not one of {ORIGINS}"
            )
        rows: dict[str, NDArray[Any]] = {
            'actions': self.actions, 'source': self.source, 'gaps': self.gaps, **self.inputs
        }
        for name, array in rows.items():
            if len(array) != length:
                raise EpisodeArraysError(
                    f"episode {self.episode_id}: '{name}' has {len(array)} rows, "
                    f'actions have {length}'
                )
        for name, array in {'instruction': self.instruction, **rows}.items():
            if array.dtype.kind == 'f' and not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array))[0][0])
                raise EpisodeArraysError(
                    f"episode {self.episode_id}: '{name}' is not finite at row {row}"
                )

    def __len__(self) -> int:
        """Count control ticks."""
        return len(self.actions)

    def with_origin(self, origin: str) -> EpisodeArrays:
        """Return the same episode for the other buffer."""
        return replace(self, origin=origin)

    def save(self, path: Path, durable: bool = True) -> None:
        """Write all of it to one safetensors file, atomically.

        Not `durable`: without waiting for the disk. What a power cut spoils then `load` notices,
        and who has the recording can make it again.
        """
        tensors: dict[str, NDArray[Any]] = {
            f'inputs.{name}': np.ascontiguousarray(array) for name, array in self.inputs.items()
        }
        tensors |= {
            'instruction': self.instruction, 'actions': self.actions,
            'source': self.source, 'gaps': self.gaps,
        }
        scalars = {
            'episode_id': self.episode_id, 'digest': self.digest, 'task': self.task,
            'success': self.success, 'terminal': self.terminal, 'origin': self.origin,
            'recorded_ns': self.recorded_ns, 'robot_digest': self.robot_digest,
        }
        temporary = path.with_name(path.name + '.tmp')
        with temporary.open('wb') as file:  # save_file hides which error a disk had
            file.write(save(tensors, metadata={
                'episode': json.dumps(scalars), 'crc32': str(_checksum(tensors))}))
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)

    @staticmethod
    def load(path: Path) -> EpisodeArrays:
        """Read what `save` wrote; EpisodeArraysError if it is not that any more."""
        try:
            tensors = load_file(path)
            with open(path, 'rb') as file:
                size = int.from_bytes(file.read(8), 'little')
                header = json.loads(file.read(size))['__metadata__']
            scalars = json.loads(header['episode'])
        except (SafetensorError, ValueError, KeyError) as error:
            raise EpisodeArraysError(f'{path} is damaged: {error}') from error
        if 'crc32' in header and int(header['crc32']) != _checksum(tensors):
            raise EpisodeArraysError(f'{path} is damaged: its arrays fail their checksum')
        inputs = {
            name.removeprefix('inputs.'): array
            for name, array in tensors.items() if name.startswith('inputs.')
        }
        return EpisodeArrays(
            inputs=inputs, instruction=tensors['instruction'], actions=tensors['actions'],
            source=tensors['source'], gaps=tensors['gaps'], **scalars,
        )


def _checksum(tensors: dict[str, NDArray[Any]]) -> int:
    found = 0
    for name in sorted(tensors):
        found = zlib.crc32(np.ascontiguousarray(tensors[name]).data, found)
    return found

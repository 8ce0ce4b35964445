# SPDX-License-Identifier: Apache-2.0
"""The columns of a replay buffer: which there are, and whether an episode fits them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lwd_learner.columns import Column
from lwd_learner.episodes import EpisodeArrays, EpisodeArraysError

SCALARS: dict[str, Any] = {
    'source': np.uint8, 'imitate': np.bool_, 'remaining': np.int32, 'terminal': np.bool_,
    'earned': np.bool_, 'task': np.uint8, 'origin': np.uint8, 'success': np.bool_,
    'episode': np.int32,
}


def make_columns(episode: EpisodeArrays, directory: Path | None) -> dict[str, Column]:
    """Return empty columns for episodes of this shape; in mapped files where a folder is given."""
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        'action': (episode.actions.shape[1:], np.float32),
        'instruction': (episode.instruction.shape, np.float32),
        **{name: ((), dtype) for name, dtype in SCALARS.items()},
        **{f'inputs.{name}': (array.shape[1:], array.dtype)
           for name, array in episode.inputs.items()},
    }
    return {name: Column(shape, dtype, directory / f'{name}.rows' if directory else None)
            for name, (shape, dtype) in shapes.items()}


def require_fit(episode: EpisodeArrays, inputs: tuple[str, ...], columns: Mapping[str, Column],
                robot: str) -> None:
    """Raise EpisodeArraysError where the episode differs from what the buffer holds.

    Called before a single row is written. `robot`: digest of the buffer's specification, or ''.
    """
    if tuple(sorted(episode.inputs)) != inputs:
        raise EpisodeArraysError(
            f'episode {episode.episode_id}: inputs {sorted(episode.inputs)}, the buffer holds '
            f'{list(inputs)}: was it recorded in another observation mode?')
    if robot and episode.robot_digest and episode.robot_digest != robot:
        raise EpisodeArraysError(
            f'episode {episode.episode_id}: recorded with robot specification '
            f'{episode.robot_digest[:12]}, the buffer holds {robot[:12]}: learn from each robot '
            'apart')
    pairs = {'action': episode.actions, 'instruction': episode.instruction[None]}
    pairs |= {f'inputs.{name}': array for name, array in episode.inputs.items()}
    for name, array in pairs.items():
        expected = columns[name].shape
        if array.shape[1:] != expected:
            raise EpisodeArraysError(
                f"episode {episode.episode_id}: '{name}' has shape {array.shape[1:]} a tick, the "
                f'buffer holds {expected}: is it of another robot?')

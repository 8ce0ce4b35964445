# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint must satisfy before anyone acts with it. Each refusal says what and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

# A statistic of 1e9 in radians or pixels is a bug upstream, not data.
_MAX_STATISTIC = 1e9
_ACTION_KEYS = ('action', 'actions', 'joints')
_PAIRS = (('low', 'high'), ('q01', 'q99'), ('lower', 'upper'), ('min', 'max'))


class CheckpointError(RuntimeError):
    """A checkpoint is refused; the message says which, what is wrong and what was expected."""


def check_robot(
    manifest: Mapping[str, Any], digest: str, joint_names: Sequence[str], rate: float
) -> None:
    """Refuse a checkpoint that was made for another robot specification."""
    theirs, ours = list(manifest['joint_names']), list(joint_names)
    if sorted(theirs) != sorted(ours):
        missing = sorted(set(ours) - set(theirs))
        extra = sorted(set(theirs) - set(ours))
        raise CheckpointError(f'joint names differ: it lacks {missing}, and has {extra} too many')
    if theirs != ours:
        index = next(i for i, pair in enumerate(zip(theirs, ours)) if pair[0] != pair[1])
        raise CheckpointError(
            f'joint order differs: action {index} is {theirs[index]}, the robot has {ours[index]}'
        )
    if manifest['rate'] != float(rate):
        raise CheckpointError(f'made for {manifest["rate"]} Hz, the robot runs at {float(rate)} Hz')
    if manifest['robot_digest'] != digest:
        raise CheckpointError(
            f'made for another robot specification: {manifest["robot_digest"][:12]} of '
            f'{manifest.get("robot")!r}, this robot is {digest[:12]} (limits, cameras or state '
            'differ)'
        )


def check_safetensors_header(name: str, data: bytes) -> None:
    """Refuse what is another format under this name, above all pickles, before parsing it."""
    if data[8:9] == b'{':  # 8 bytes of header length may well begin with 0x80 or "PK"
        return
    if data[:1] == b'\x80' or data[:2] == b'PK':
        raise CheckpointError(f'{name} is a pickle or torch archive in disguise: never loaded')
    if len(data) < 9:
        raise CheckpointError(f'{name} has {len(data)} bytes: cut off')
    raise CheckpointError(f'{name} is not a safetensors file')


def check_arrays(tensors: Mapping[str, np.ndarray]) -> None:
    """Refuse no weights at all and weights that are not finite numbers."""
    if not tensors:
        raise CheckpointError('there is not one tensor')
    for name, tensor in tensors.items():
        if tensor.dtype.kind == 'f' and not np.isfinite(tensor).all():
            count = int(np.size(tensor) - np.isfinite(tensor).sum())
            raise CheckpointError(f'tensor {name} has {count} values that are not finite')


def check_normalization(normalization: Mapping[str, Any], action_dim: int) -> None:
    """Refuse statistics that would turn a good network into wild actions.

    Every object in it with `mean` and `std` (or a `low`/`high` pair) is checked; those called
    action or joints must have `action_dim` entries.
    """
    for path, block in _blocks(normalization, 'normalization'):
        _check_block(path, block, action_dim if path.split('.')[-1] in _ACTION_KEYS else None)


def _blocks(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        yield path, value
        for key, inner in value.items():
            yield from _blocks(inner, f'{path}.{key}')


def _check_block(path: str, block: Mapping[str, Any], dim: int | None) -> None:
    if 'std' in block:
        std = _vector(f'{path}.std', block['std'], dim)
        mean = _vector(f'{path}.mean', block.get('mean', []), len(std))
        if len(mean) and (std <= 0).any():
            index = int(np.argmax(std <= 0))
            raise CheckpointError(f'{path}.std[{index}] is {std[index]}, must be above 0')
    for low_key, high_key in _PAIRS:
        if low_key in block and high_key in block:
            low = _vector(f'{path}.{low_key}', block[low_key], dim)
            high = _vector(f'{path}.{high_key}', block[high_key], len(low))
            if (low >= high).any():
                index = int(np.argmax(low >= high))
                raise CheckpointError(
                    f'{path}: {low_key}[{index}] is {low[index]}, must be below {high_key}'
                    f'[{index}], {high[index]}'
                )


def _vector(path: str, value: Any, dim: int | None) -> np.ndarray:
    try:
        vector = np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f'{path} is not a list of numbers') from error
    if dim is not None and len(vector) != dim:
        raise CheckpointError(f'{path} has {len(vector)} entries, must have {dim}')
    if not np.isfinite(vector).all() or (np.abs(vector) > _MAX_STATISTIC).any():
        raise CheckpointError(f'{path} has values that are not finite or beyond {_MAX_STATISTIC:g}')
    return vector

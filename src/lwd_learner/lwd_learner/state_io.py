# SPDX-License-Identifier: Apache-2.0
"""Save nested state (weights, optimisers, generators, counters) in one safetensors file, exactly.

Tensors go into the file's tensors; the tree around them, with its int keys, tuples and numbers,
goes into its metadata as JSON. No pickle, one atomic replace.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file
import torch


class StateError(RuntimeError):
    """A resume state that cannot be read; says which file and why."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`, replacing what was there only once all of it is on disk."""
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(_encode(state, tensors))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.tmp')
    save_file(tensors, temporary, metadata={'tree': tree})
    with open(temporary, 'rb') as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, equal to the last bit."""
    try:
        with safe_open(path, 'pt') as file:
            tree = json.loads(file.metadata()['tree'])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except Exception as error:  # safetensors raises its own kinds
        raise StateError(
            f'{path}: not a resume state ({error}): remove it to start over'
        ) from error
    state = _decode(tree, tensors)
    if not isinstance(state, dict):
        raise StateError(f'{path}: holds {type(state).__name__}, must be a mapping')
    return state


def _encode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, torch.Tensor):
        name = f't{len(tensors)}'
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {'tensor': name}
    if isinstance(value, dict):
        return {'dict': [[key, _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        kind = 'tuple' if isinstance(value, tuple) else 'list'
        return {kind: [_encode(item, tensors) for item in value]}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise StateError(f'cannot save a {type(value).__name__} in the resume state')


def _decode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == 'tensor':
        return tensors[inner]
    if kind == 'dict':
        return {key: _decode(item, tensors) for key, item in inner}
    items = [_decode(item, tensors) for item in inner]
    return tuple(items) if kind == 'tuple' else items

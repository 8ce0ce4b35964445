# SPDX-License-Identifier: Apache-2.0
"""Exported graphs by architecture, kept in memory and on disk: an export takes seconds.

A graph on disk is only a shape: every load fills in its own weights and checks the result against
eager PyTorch, so a damaged or stale file costs a new export and nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path
import threading

from lwd_core.flow.export import ChunkSampler, to_onnx
from lwd_core.store import write_atomic

_graphs: dict[str, bytes] = {}
_lock = threading.Lock()
KEPT_IN_MEMORY = 4


def cache_folder() -> Path:
    """Return the folder of exported graphs: $XDG_CACHE_HOME/lwd/graphs."""
    base = os.environ.get('XDG_CACHE_HOME') or str(Path.home() / '.cache')
    return Path(base) / 'lwd' / 'graphs'


def graph_of(sampler: ChunkSampler) -> bytes:
    """Return the graph of the sampler's architecture; its weights are some checkpoint's."""
    key = sampler.architecture
    with _lock:
        if key not in _graphs:
            graph = _read(key) or _export(sampler, key)
            while len(_graphs) >= KEPT_IN_MEMORY:
                _graphs.pop(next(iter(_graphs)))
            _graphs[key] = graph
        return _graphs[key]


def forget(sampler: ChunkSampler) -> None:
    """Drop the graph of this architecture, also on disk: it was found to be wrong."""
    with _lock:
        _graphs.pop(sampler.architecture, None)
        _path(sampler.architecture).unlink(missing_ok=True)


def _path(key: str) -> Path:
    return cache_folder() / f'{key}.onnx'


def _read(key: str) -> bytes:
    try:
        return _path(key).read_bytes()
    except OSError:
        return b''


def _export(sampler: ChunkSampler, key: str) -> bytes:
    graph = to_onnx(sampler)
    try:
        write_atomic(_path(key), graph)
    except OSError:
        pass  # a home that cannot be written: the next start exports again
    return graph

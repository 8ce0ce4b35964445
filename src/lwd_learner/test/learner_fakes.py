# SPDX-License-Identifier: Apache-2.0
"""Small made-up episodes for tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from lwd_core.episode.audit import Audit
from lwd_learner.episodes import EpisodeArrays


def episode(name: str = 'e0', length: int = 20, **changes: Any) -> EpisodeArrays:
    """Make an episode whose arrays name their own tick: joints[t] = action[t] = t."""
    ticks = np.arange(length, dtype=np.float32)
    fields: dict[str, Any] = {
        'episode_id': name, 'digest': name * 2, 'task': 'place',
        'instruction': np.ones(4, np.float32),
        'inputs': {'joints': np.repeat(ticks[:, None], 3, 1),
                   'state': np.repeat(ticks[:, None], 2, 1)},
        'actions': np.repeat(ticks[:, None], 3, 1),
        'source': np.ones(length, np.uint8), 'gaps': np.zeros(length, bool),
        'success': True, 'terminal': True, 'origin': 'offline',
    }
    return EpisodeArrays(**{**fields, **changes})


def episode_data(
    name: str = 'e0', length: int = 20, *, source: int | list[int] = 1, **meta: Any
) -> SimpleNamespace:
    """Make what `read_episode` returns, with motion in it."""
    wave = np.sin(np.arange(length) / 5)[:, None].astype(np.float32)
    known: dict[str, Any] = {
        'id': name, 'task': 'place', 'instruction': 'put the milk away', 'stop_reason': 'labelled',
        'robot_digest': 'r' * 64, 'bag': {'sha256': f'sha of {name}'},
        'recorded_at': '2026-01-02T03:04:05+00:00', **meta,
    }
    success = known.pop('success', True)
    return SimpleNamespace(
        meta=SimpleNamespace(**known), ticks_ns=np.arange(length) * 40_000_000,
        joints=np.repeat(wave, 14, 1), state=np.repeat(wave, 5, 1),
        actions=np.repeat(wave, 14, 1), source=np.resize(np.array(source, np.uint8), length),
        gaps=np.zeros(length, bool), success=success, terminal=True, audit=Audit(),
    )

# SPDX-License-Identifier: Apache-2.0
"""Small made-up episodes for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

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

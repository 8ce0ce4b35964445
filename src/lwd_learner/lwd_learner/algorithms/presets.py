# SPDX-License-Identifier: Apache-2.0
"""Agent settings by purpose; `AgentConfig.from_dict(PRESETS[name])`."""

from __future__ import annotations

from typing import Any

# The paper's constants: a frozen reference from much data, policy a full copy of it.
PAPER: dict[str, Any] = {}

# Few demonstrations, corrections, minutes on two cores. The reference tracks what people do (the
# policy's own successes are sloppy targets); QAM tilts it by a small net with robust steps.
DEMO: dict[str, Any] = {
    'reference': 'tracks',
    'form': 'residual',
    'selection': 'corrections',
    'acting_ema': 0.005,
    'actor_every': 8,
    'actor_batch': 32,
    'bc': {'learning_rate': 1e-3, 'tracking_rate': 5e-4, 'loss': 'action',
           'input_noise': 0.05},
    'critic': {'hidden': 256, 'chunk': 'flat'},
    'qam': {'beta': 2.0, 'learning_rate': 1e-4, 'robust': 'drop'},
}

PRESETS = {'paper': PAPER, 'demo': DEMO}

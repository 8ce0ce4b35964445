# SPDX-License-Identifier: Apache-2.0
"""Agent settings by purpose; `AgentConfig.from_dict(PRESETS[name])`."""

from __future__ import annotations

from typing import Any

# The paper's constants: a frozen reference from much data, policy a full copy of it.
PAPER: dict[str, Any] = {}

# Few demonstrations, corrections, minutes on two cores. The reference tracks what people show and
# what succeeds; QAM tilts it by a small separate net with small, robust steps.
DEMO: dict[str, Any] = {
    'reference': 'tracks',
    'form': 'residual',
    'selection': 'successes_and_corrections',
    'acting_ema': 0.01,
    'actor_every': 8,
    'actor_batch': 64,
    'bc': {'learning_rate': 1e-3, 'tracking_rate': 5e-4, 'loss': 'action'},
    'critic': {'hidden': 256, 'chunk': 'flat'},
    'qam': {'beta': 5.0, 'learning_rate': 1e-4, 'robust': 'drop'},
}

PRESETS = {'paper': PAPER, 'demo': DEMO}

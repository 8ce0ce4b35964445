# SPDX-License-Identifier: Apache-2.0
"""Means over parts of a batch: by the episode's outcome, by who drove."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from lwd_learner.algorithms.dagger import SOURCE_HUMAN, SOURCE_POLICY


def by_outcome_and_source(batch: dict[str, Any], q: Tensor, v: Tensor) -> dict[str, float]:
    """Return means of Q and V [B]: '{q,v}_{success,failure}' and '{q,v}_on_{human,policy}'.

    NaN: the batch has no such row, or does not say.
    """
    parts: dict[str, Tensor] = {}
    if (success := batch.get('success')) is not None:
        parts |= {'success': success > 0.5, 'failure': success <= 0.5}
    if (source := batch.get('source')) is not None:
        parts |= {'on_human': source == SOURCE_HUMAN, 'on_policy': source == SOURCE_POLICY}
    return {f'{letter}_{name}': float(x[chosen].mean()) if chosen.any() else math.nan
            for letter, x in (('q', q), ('v', v)) for name, chosen in parts.items()}

# SPDX-License-Identifier: Apache-2.0
"""What a takeover says about what came before it: `replay.takeover`.

`ordinary` (the paper): nothing. The executed actions, whoever chose them, are one trajectory with
the episode's reward at its end. An operator who rescues every episode then makes every return 1,
so that Q tells how well policy and person do together.
`cut`: a chunk or return that the policy began ends where a person took over, and bootstraps there:
the value of what the person did is credited to the state he found, never to the policy's chunk.
`failure`: it ends there with value 0: the policy alone would have failed. The correction and all
that follows stay ordinary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lwd_learner.episodes import SOURCE_HOLD, SOURCE_HUMAN, SOURCE_POLICY
from lwd_learner.transitions import Bools

TAKEOVERS = ('ordinary', 'cut', 'failure')


def overruled(source: NDArray[np.uint8]) -> Bools:
    """Mark the policy's last tick before each takeover in `source` [T]; it may be held between."""
    marked = np.zeros(len(source), bool)
    moved = np.flatnonzero(source != SOURCE_HOLD)
    who = source[moved]
    taken = (who[:-1] == SOURCE_POLICY) & (who[1:] == SOURCE_HUMAN)
    marked[moved[:-1][taken]] = True
    return marked


def ends_by_takeover(source: NDArray[np.uint8], takeover: str) -> tuple[Bools, Bools]:
    """Return (gaps, failed) [T] that takeovers add to an episode's, as `annotate` takes them."""
    none = np.zeros(len(source), bool)
    if takeover == 'cut':
        return overruled(source), none
    return none, overruled(source) if takeover == 'failure' else none

# SPDX-License-Identifier: Apache-2.0
"""What is odd about the data as a whole, said once when a phase of learning begins.

Nothing here stops learning: each finding says what follows from it.
"""

from __future__ import annotations

import numpy as np

from lwd_learner.replay import ReplayBuffer

STILL = 1e-6  # an action dimension that varies less never moved
ROWS = 10_000  # that a dimension is looked at


def findings(buffer: ReplayBuffer) -> list[str]:
    """Return one line for each oddity of what the buffer holds; none for an empty one."""
    if not len(buffer):
        return []
    found = []
    imitable = buffer.imitation_starts()
    for number, task in enumerate(buffer.tasks):
        episodes = sum(buffer.episodes_of(number))
        successes = sum(buffer.successes.get((number, origin), 0) for origin in (0, 1))
        if episodes == 1:
            found.append(f"task '{task}' has a single episode: its value is that of one outcome")
        elif not successes:
            found.append(f"task '{task}' has only failures ({episodes}): its value is 0 everywhere "
                         'and tilts nothing; demonstrate it or label a success')
        elif successes == episodes:
            found.append(f"task '{task}' has only successes ({episodes}): its value tells how far "
                         'the end is, not what fails')
        if number not in imitable:
            found.append(f"task '{task}' has nothing to imitate")
    rows = buffer.column('action')
    some = rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(np.int64)]
    still = np.flatnonzero(np.ptp(some, axis=0) < STILL)
    if len(still):
        found.append(f'action dimensions {still.tolist()} never move: normalised with the floor of '
                     'the standard deviation, the policy repeats them')
    return found

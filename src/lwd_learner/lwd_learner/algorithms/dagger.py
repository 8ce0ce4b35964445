# SPDX-License-Identifier: Apache-2.0
"""Which recorded steps may be imitated: HG-DAgger, filtered cloning and the tracked reference.

HG-DAgger is behaviour cloning on the aggregate of demonstrations, successes and corrections; what
the policy did before it had to be corrected is left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SOURCE_POLICY, SOURCE_HUMAN = 1, 2  # = ExecutedAction.SOURCE_*
SELECTION = 'successes_and_corrections'  # HG-DAgger's
SELECTIONS = ('all', 'successes', 'corrections', 'successes_and_corrections')
Bools = npt.NDArray[np.bool_]


def imitation_ticks(source: npt.NDArray[np.uint8], success: bool,
                    selection: str = SELECTION) -> Bools:
    """Say for each tick of an episode whether it may be imitated: bool [T].

    `all`: every tick; `successes`: every tick of a success; `corrections`: what a person did, but
    for a last correction that ended in failure (he tried in vain, often for long);
    `successes_and_corrections`: corrections, and in a success what the policy did by itself after
    the last takeover (all of it if there was none).
    """
    if selection not in SELECTIONS:
        raise ValueError(f'imitation selection {selection!r} is not one of {SELECTIONS}')
    human = np.asarray(source) == SOURCE_HUMAN
    if selection == 'all':
        return np.ones_like(human)
    if selection == 'successes':
        return np.full_like(human, success)
    later_takeover = np.cumsum(human[::-1])[::-1] > 0
    if not success:
        later_policy = np.cumsum(~human[::-1])[::-1] > 0
        return human & later_policy
    return human if selection == 'corrections' else human | ~later_takeover

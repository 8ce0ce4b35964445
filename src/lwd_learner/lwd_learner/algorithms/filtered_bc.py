# SPDX-License-Identifier: Apache-2.0
"""Filtered cloning: behaviour cloning of whole successful episodes, whoever drove in them.

No value and no corrections' rule: an episode that succeeded is imitated from its first tick to its
last, a failure not at all.
"""

from __future__ import annotations

SELECTION = 'successes'  # of dagger.imitation_ticks

# SPDX-License-Identifier: Apache-2.0
"""What the policy would have done: shadow chunks against the actions that a person executed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwd_core.ros_tick import to_ns
from lwd_msgs.msg import ExecutedAction


@dataclass(frozen=True)
class Difference:
    """One tick of a person: the executed action less the shadow action [d], in joint units."""

    stamp_ns: int
    joint_names: tuple[str, ...]
    values: NDArray[np.float64]

    @property
    def worst(self) -> tuple[str, float]:
        """Return the joint that differs most, and by how much."""
        index = int(np.abs(self.values).argmax())
        return self.joint_names[index], float(self.values[index])


class Shadow:
    """Join executed actions with the newest shadow chunk planned not later than their tick."""

    def __init__(self, period_ns: int) -> None:
        """Start with no chunk."""
        self._period = period_ns
        self._chunk: tuple[int, NDArray[np.float64], tuple[str, ...]] | None = None

    def on_chunk(self, message: Any) -> None:
        """Take a chunk; one that may be executed ends the shadow."""
        if not message.shadow:
            self._chunk = None
            return
        rows = np.asarray(message.actions, np.float64).reshape(message.horizon, message.action_dim)
        self._chunk = (to_ns(message.header.stamp), rows, tuple(message.joint_names))

    def on_executed(self, message: Any) -> Difference | None:
        """Take an executed action; return how it differs, None where nothing is to be compared."""
        if message.source != ExecutedAction.SOURCE_HUMAN or self._chunk is None:
            return None
        planned, rows, names = self._chunk
        stamp = to_ns(message.header.stamp)
        row = (stamp - planned) // self._period
        if not 0 <= row < len(rows) or tuple(message.joint_names) != names:
            return None
        return Difference(stamp, names, np.asarray(message.sent) - rows[row])


def differences(messages: Iterable[tuple[str, Any]], period_ns: int) -> list[Difference]:
    """Return the differences along (relative topic name, message) of a bag, in recorded order."""
    shadow, found = Shadow(period_ns), []
    for topic, message in messages:
        if topic == 'policy/chunk':
            shadow.on_chunk(message)
        elif topic == 'executed_action':
            difference = shadow.on_executed(message)
            found += [difference] if difference is not None else []
    return found

# SPDX-License-Identifier: Apache-2.0
"""Sees to it that every takeover that began has an end, also if the arbiter is gone."""

from __future__ import annotations

from copy import deepcopy

from lwd_core.ros_tick import to_stamp
from lwd_msgs.msg import Intervention


class OpenTakeover:
    """Remember the takeover that has no end yet; the arbiter's own word always comes first."""

    def __init__(self) -> None:
        """Start with none open."""
        self._open: Intervention | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether a takeover began and did not end."""
        return self._open is not None

    def take(self, message: Intervention) -> None:
        """Take a start or an end."""
        if message.event == Intervention.STARTED:
            self._open = message
        elif self._open is not None and self._open.id == message.id:
            self._open = None

    def lost(self, reason: str, now_ns: int, tick: int) -> Intervention | None:
        """Return the end to publish in the arbiter's place; None if nothing is open."""
        if self._open is None:
            return None
        end = deepcopy(self._open)
        self._open = None
        end.event, end.end_reason = Intervention.ENDED, reason
        end.header.stamp = to_stamp(now_ns)
        end.end_tick = max(tick, end.start_tick)
        return end

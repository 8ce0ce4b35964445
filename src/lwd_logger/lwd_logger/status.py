# SPDX-License-Identifier: Apache-2.0
"""What the recorder says of itself, and the clocks it lives by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
import enum
import time

from lwd_core.episode.writer import TopicTally


class State(enum.IntEnum):
    """As in lwd_msgs/RecorderStatus."""

    IDLE = 0
    RECORDING = 1
    CLOSING = 2
    FAULT = 3


@dataclass(frozen=True)
class Status:
    """One report."""

    state: State
    episode_id: str
    last_episode_id: str
    reason: str
    messages: int
    bytes: int
    topics: tuple[TopicTally, ...]
    lost_total: int
    episodes_written: int
    disk_free: int


@dataclass
class Clocks:
    """Time as the recorder sees it; tests replace it."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], str] = field(
        default=lambda: datetime.now(timezone.utc).isoformat(timespec='milliseconds'))

# SPDX-License-Identifier: Apache-2.0
"""What a session asks its node to do, and the states it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from lwd_intervention.arbiter.records import Vector
from lwd_intervention.modes import Mode


class State(IntEnum):
    """lwd_msgs/TeleopStatus."""

    IDLE = 0
    ALIGNING = 1
    DRIVING = 2
    LOST = 3


@dataclass(frozen=True)
class SendCommand:
    """Publish positions [d] for the tick `stamp_ns`."""

    stamp_ns: int
    positions: Vector


@dataclass(frozen=True)
class AskMode:
    """Call arbiter/request_mode; give the answer to `on_answer`."""

    mode: Mode
    reason: str


@dataclass(frozen=True)
class CallEpisode:
    """Call an episode service: 'start', 'success', 'failure' or 'discard'."""

    what: str
    episode_id: str


@dataclass(frozen=True)
class SayWhy:
    """Publish the person's words for a takeover."""

    words: str


@dataclass(frozen=True)
class Say:
    """Tell the person."""

    text: str
    warn: bool = False


Effect = SendCommand | AskMode | CallEpisode | SayWhy | Say

# SPDX-License-Identifier: Apache-2.0
"""What an episode is, and the table of its phases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from enum import IntEnum

from lwd_msgs.msg import EpisodeState
from lwd_msgs.msg import Outcome as OutcomeMsg


class Phase(IntEnum):
    """lwd_msgs/EpisodeState phases."""

    IDLE = EpisodeState.IDLE
    RESETTING = EpisodeState.RESETTING  # the scene is prepared
    READY = EpisodeState.READY          # waits for recorder, policy and arbiter
    RUNNING = EpisodeState.RUNNING
    LABELLING = EpisodeState.LABELLING


class Stop(IntEnum):
    """Why an episode stopped; says nothing about what came of it."""

    NONE = EpisodeState.STOP_NONE
    LABELLED = EpisodeState.STOP_LABELLED
    TIME_LIMIT = EpisodeState.STOP_TIME_LIMIT
    REQUESTED = EpisodeState.STOP_REQUESTED
    ESTOP = EpisodeState.STOP_ESTOP
    FAULT = EpisodeState.STOP_FAULT


class Outcome(IntEnum):
    """What came of an episode; says nothing about why it stopped."""

    UNLABELLED = OutcomeMsg.UNLABELLED
    SUCCESS = OutcomeMsg.SUCCESS
    FAILURE = OutcomeMsg.FAILURE
    DISCARDED = OutcomeMsg.DISCARDED


TRANSITIONS: dict[Phase, tuple[Phase, ...]] = {
    Phase.IDLE: (Phase.RESETTING,),
    Phase.RESETTING: (Phase.READY, Phase.IDLE),
    Phase.READY: (Phase.RUNNING, Phase.IDLE),
    Phase.RUNNING: (Phase.LABELLING,),
    Phase.LABELLING: (Phase.IDLE,),
}
PREPARING = (Phase.RESETTING, Phase.READY)


@dataclass(frozen=True)
class State:
    """One episode as published; stamps are ns of ROS time, 0 while not reached."""

    id: str = ''
    task: str = ''
    instruction: str = ''
    phase: Phase = Phase.IDLE
    start_mode: int = EpisodeState.MODE_POLICY
    outcome: Outcome = Outcome.UNLABELLED
    stop: Stop = Stop.NONE
    detail: str = ''
    substep_scores: tuple[float, ...] = ()
    started_ns: int = 0
    ended_ns: int = 0
    time_limit: float = 0.0  # s
    seed: int = -1
    labelled_by: str = ''


class EpisodeIds:
    """Episode ids that sort by time and never repeat, e.g. 20261122T141500.123Z_arm1_place."""

    def __init__(self, robot: str) -> None:
        """Name the robot."""
        self._robot = robot
        self._last_ms = 0

    def make(self, task: str, utc_ms: int) -> str:
        """Return the id of an episode started at `utc_ms` [ms since 1970]; later than the last."""
        self._last_ms = max(utc_ms, self._last_ms + 1)
        start = datetime.fromtimestamp(self._last_ms / 1000, tz=timezone.utc)
        return f'{start:%Y%m%dT%H%M%S}.{self._last_ms % 1000:03d}Z_{self._robot}_{task}'

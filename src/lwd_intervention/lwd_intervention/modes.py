# SPDX-License-Identifier: Apache-2.0
"""Who may drive, and which changes between drivers are allowed for which cause."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, IntEnum
import re

from lwd_msgs.msg import ControlMode, ExecutedAction


class Mode(IntEnum):
    """Who drives the robot now (lwd_msgs/ControlMode)."""

    HOLD = ControlMode.HOLD
    POLICY = ControlMode.POLICY
    HUMAN = ControlMode.HUMAN
    ESTOP = ControlMode.ESTOP


class Source(IntEnum):
    """Whose action a tick executed (lwd_msgs/ExecutedAction)."""

    HOLD = ExecutedAction.SOURCE_HOLD
    POLICY = ExecutedAction.SOURCE_POLICY
    HUMAN = ExecutedAction.SOURCE_HUMAN


class Cause(Enum):
    """Why a change of mode is asked for."""

    REQUEST = 'request'    # a person or program through arbiter/request_mode
    EPISODE = 'episode'    # an episode started or stopped
    WATCHDOG = 'watchdog'  # commands missing, stale or invalid; the clock jumped
    RESUME = 'resume'      # a starved policy is back


DRIVERS = (Mode.POLICY, Mode.HUMAN)
STANDING = (Mode.HOLD, Mode.ESTOP)
TAKEOVER = 'takeover'  # the reason of a takeover for which nobody gave one
_HOW_ONLY = re.compile(rf'{TAKEOVER}(, \S+( and \S+)* deadman)?')

# A loss of the person has no way back but REQUEST; RESUME belongs to the starved policy alone.
# ESTOP is left by an explicit request for HOLD and nothing else.
TRANSITIONS: dict[tuple[Mode, Mode], frozenset[Cause]] = {
    (Mode.HOLD, Mode.POLICY): frozenset({Cause.REQUEST, Cause.EPISODE, Cause.RESUME}),
    (Mode.HOLD, Mode.HUMAN): frozenset({Cause.REQUEST, Cause.EPISODE}),
    (Mode.POLICY, Mode.HUMAN): frozenset({Cause.REQUEST}),
    (Mode.HUMAN, Mode.POLICY): frozenset({Cause.REQUEST}),
    (Mode.POLICY, Mode.HOLD): frozenset({Cause.REQUEST, Cause.EPISODE, Cause.WATCHDOG}),
    (Mode.HUMAN, Mode.HOLD): frozenset({Cause.REQUEST, Cause.EPISODE, Cause.WATCHDOG}),
    (Mode.HOLD, Mode.ESTOP): frozenset({Cause.REQUEST}),
    (Mode.POLICY, Mode.ESTOP): frozenset({Cause.REQUEST}),
    (Mode.HUMAN, Mode.ESTOP): frozenset({Cause.REQUEST}),
    (Mode.ESTOP, Mode.HOLD): frozenset({Cause.REQUEST}),
}


def allowed(previous: Mode, mode: Mode, cause: Cause) -> bool:
    """Tell whether the table has this change for this cause."""
    return cause in TRANSITIONS.get((previous, mode), frozenset())


def by_deadman(arms: Sequence[str]) -> str:
    """Return the reason of a takeover with these arms' deadman: how it began, not yet why."""
    return f'{TAKEOVER}, {" and ".join(arms)} deadman'


def says_why(reason: str) -> bool:
    """Tell a person's reason, which may begin with any word, from one that only says how."""
    return _HOW_ONLY.fullmatch(reason) is None

# SPDX-License-Identifier: Apache-2.0
"""What goes into the arbiter and what comes out of it, as plain data. Stamps are ns of ROS time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwd_core.guard import Clamp
from lwd_core.topics import CommandTag
from lwd_intervention.modes import Mode, Source

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ArbiterConfig:
    """How patient the arbiter is; times in s of ROS time."""

    max_gap_periods: int = 2           # without an executed command before HOLD
    first_command_timeout: float = 1.0  # for the first command after a change of driver
    resume_after_starvation: bool = True
    require_policy: bool = True        # POLICY only while policy/status says READY or ACTING
    start_at_tick: bool = False        # a person's waiting command answers the first tick at once
    hold_at_once: bool = True          # False: HOLD answers in `answer_open_tick` only (paced)
    max_open_ticks: int = 3            # ticks in a row answered for a silent driver before HOLD
    max_ahead_periods: int = 2         # a command may overtake the clock message of its tick
    max_plan_age: float = 3.0          # of the observation a policy's action was planned from
    max_joint_age: float = 0.1         # of joint_states while somebody drives
    hold_on_second_writer: bool = True  # HOLD while somebody else publishes the robot's command


@dataclass(frozen=True)
class Request:
    """A command as it arrived. `names` None: the robot file's order."""

    stamp_ns: int
    positions: Sequence[float] | Vector
    names: Sequence[str] | None = None
    tag: CommandTag | None = None


@dataclass(frozen=True)
class Episode:
    """What the arbiter must know of an episode."""

    id: str
    running: bool
    resetting: bool = False   # the scene is being prepared; the robot may be moved by others
    start_mode: Mode = Mode.POLICY
    started_ns: int = 0       # first tick; 0: not known
    labelling: bool = False   # over, but its recording is still open


@dataclass(frozen=True)
class Executed:
    """One tick's command: publish it to the driver, then as executed_action."""

    stamp_ns: int
    source: Source
    epoch: int
    tick: int
    requested: Any            # [d] or () for a hold
    sent: Vector              # [d]
    clamped: Clamp
    tag: CommandTag | None


@dataclass(frozen=True)
class ModeChange:
    """A transition; `stamp_ns` is the first tick of the new mode."""

    stamp_ns: int
    mode: Mode
    previous: Mode
    reason: str
    requested_by: str
    tick: int
    epoch: int


@dataclass(frozen=True)
class Takeover:
    """Start of a takeover, and again with `end_reason` and `end_tick` (exclusive) when it ends."""

    stamp_ns: int
    id: int
    episode_id: str
    operator: str
    source: str
    reason: str
    start_tick: int
    checkpoint: str
    overruled_chunk: int
    end_reason: str | None = None
    end_tick: int = 0


@dataclass(frozen=True)
class Unclaimed:
    """Words of a person that no takeover followed."""

    words: str


Output = Executed | ModeChange | Takeover | Unclaimed

# SPDX-License-Identifier: Apache-2.0
"""What the operator sees, computed from the newest messages; no terminal and no rclpy here.

Messages go in by `take(topic, message)`, time by the argument of `lines`; text with a level comes
out. Alarms are what a person must act on; the bell rings once for each HOLD or ESTOP.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from lwd_core import topics
from lwd_core.guard import Clamp
from lwd_core.ros_tick import to_ns
from lwd_msgs.msg import (
    ControlMode,
    EpisodeState,
    Intervention,
    Outcome,
    PolicyStatus,
    RecorderStatus,
    TeleopStatus,
)

OK, WARN, ALARM = 'ok', 'warn', 'alarm'
STALE = 2.0       # s of wall time after which a status that comes at 1 Hz is missed
SOON = 10.0       # s left of the time limit at which it is said
CLAMPS_SHOWN = 5.0  # s of wall time that a clamp stays an alarm
HISTORY = 8       # lines of what happened


def constants(message: Any, names: str) -> dict[int, str]:
    """Return {value: name} of a message's constants."""
    return {getattr(message, name): name for name in names.split()}


MODES = constants(ControlMode, 'HOLD POLICY HUMAN ESTOP')
PHASES = constants(EpisodeState, 'IDLE RESETTING READY RUNNING LABELLING')
OUTCOMES = constants(Outcome, 'UNLABELLED SUCCESS FAILURE DISCARDED')
POLICY = constants(PolicyStatus, 'NO_POLICY LOADING READY ACTING FAULT')
TELEOP = constants(TeleopStatus, 'IDLE ALIGNING DRIVING LOST')
RECORDER = constants(RecorderStatus, 'IDLE RECORDING CLOSING FAULT')
CLAMPS = tuple((bit.value, str(bit.name).lower()) for bit in Clamp if bit)


@dataclass(frozen=True)
class Line:
    """One row of a panel: what it is about, its text and how bad it is."""

    label: str
    text: str
    level: str = OK


class OperatorView:
    """The newest message of every topic, and what follows from them for the operator."""

    def __init__(self, robot: str) -> None:
        """Start with nothing heard of `robot`."""
        self.robot = robot
        self.bells = 0              # times the bell has rung
        self.clamped = Counter[str]()  # ticks of this episode by what was clamped
        self.difference: float | None = None  # rad or share, what the policy would have done else
        self.period_ns = 0          # control period as the ticks tell it, 0: not known yet
        self.happened: deque[str] = deque(maxlen=HISTORY)
        self._newest: dict[str, Any] = {}
        self._heard: dict[str, float] = {}   # wall time
        self._clamped_at = -CLAMPS_SHOWN
        self._now_ns = 0            # newest stamp of the robot's time

    # -- messages in -------------------------------------------------------------------------

    def take(self, topic: str, message: Any, wall: float) -> None:
        """Take a message of a topic (relative name) at a wall time [s]."""
        before = self._newest.get(topic)
        self._newest[topic], self._heard[topic] = message, wall
        if topic == topics.CONTROL_MODE.name:
            self._take_mode(before, message)
        elif topic == topics.EXECUTED_ACTION.name:
            self._take_executed(message, wall)
        elif topic == topics.EPISODE.name:
            self._take_episode(before, message)
        elif topic == topics.INTERVENTION.name:
            self._take_intervention(before, message)

    def _take_intervention(self, before: Any, message: Any) -> None:
        if message.event == Intervention.STARTED:
            self.happened.append(f'takeover by {message.operator_name or "?"}: {message.reason}')
        elif before is not None and before.id == message.id and before.reason != message.reason:
            self.happened.append(f'said why: {message.reason}')

    def _take_mode(self, before: Any, message: Any) -> None:
        if before is not None and before.epoch == message.epoch:
            return
        name = MODES.get(message.mode, '?')
        self.happened.append(f'{name}: {message.reason}')
        stands = message.mode in (ControlMode.HOLD, ControlMode.ESTOP)
        # Standing between episodes is no news; a robot that stops while it should work is.
        if message.mode == ControlMode.ESTOP or (
                stands and before is not None and before.mode != ControlMode.HOLD):
            self.bells += 1

    def _take_executed(self, message: Any, wall: float) -> None:
        stamp = to_ns(message.header.stamp)
        step = stamp - self._now_ns
        if self._now_ns and 0 < step < (self.period_ns or step + 1):
            self.period_ns = step  # the least distance of two ticks
        self._now_ns = stamp
        for bit, name in CLAMPS:
            self.clamped[name] += bool(message.clamped & bit)
        if message.clamped:
            self._clamped_at = wall

    def _take_episode(self, before: Any, message: Any) -> None:
        if before is None or before.episode_id != message.episode_id:
            self.clamped.clear()
        if before is None or before.phase != message.phase:
            text = PHASES.get(message.phase, '?')
            if message.phase == EpisodeState.IDLE and message.episode_id:
                text = f'{OUTCOMES.get(message.outcome.value, "?")} {message.detail}'.strip()
            self.happened.append(text)

    # -- what is shown -----------------------------------------------------------------------

    @property
    def mode(self) -> str:
        """Return who drives, '?' before the arbiter was heard."""
        message = self._newest.get(topics.CONTROL_MODE.name)
        return '?' if message is None else MODES.get(message.mode, '?')

    @property
    def episode_id(self) -> str:
        """Return the current episode, '' if none is active."""
        message = self._newest.get(topics.EPISODE.name)
        return '' if message is None or message.phase == EpisodeState.IDLE else message.episode_id

    def time_left(self) -> float | None:
        """Return what is left of the time limit [s of the robot's time]; None if none runs."""
        message = self._newest.get(topics.EPISODE.name)
        if message is None or message.phase != EpisodeState.RUNNING or not self._now_ns:
            return None
        return max(0.0, message.time_limit - (self._now_ns - to_ns(message.started)) / 1e9)

    def lines(self, wall: float) -> list[Line]:
        """Return the rows of the view at a wall time [s]."""
        return [self._mode_line(), self._deadman_line(wall), *self._episode_lines(),
                self._policy_line(wall), self._clamp_line(wall), self._recorder_line()]

    def alarms(self, wall: float) -> list[str]:
        """Return what the operator must act on, worst first."""
        return [f'{line.label}: {line.text}' for line in self.lines(wall) if line.level == ALARM]

    def _mode_line(self) -> Line:
        message = self._newest.get(topics.CONTROL_MODE.name)
        if message is None:
            return Line('mode', 'no arbiter heard; is it running?', ALARM)
        episode = self._newest.get(topics.EPISODE.name)
        running = episode is not None and episode.phase == EpisodeState.RUNNING
        level = {'ESTOP': ALARM, 'HOLD': ALARM if running else OK}.get(self.mode, OK)
        level = ALARM if 'second writer' in message.reason else level
        return Line('mode', f'{self.mode}  {message.reason}', level)

    def _deadman_line(self, wall: float) -> Line:
        message = self._newest.get(topics.TELEOP_STATUS.name)
        if message is None:
            return Line('deadman', 'no teleoperation source')
        state = TELEOP.get(message.state, '?')
        arms = '  '.join(f'{arm} {"HELD" if held else "-"}{" selected" if chosen else ""}'
                         for arm, held, chosen in zip(message.arms, message.deadman,
                                                      message.selected))
        text = f'{state}  {message.source} {arms}'.rstrip()
        slow = [f'{arm} follows {scale:.0%}' for arm, scale in zip(
            message.arms, message.limit_scale) if scale < 0.95]
        reason = '; '.join([message.reason, *slow]).strip('; ')
        silent = wall - self._heard[topics.TELEOP_STATUS.name] > STALE
        if silent:
            return Line('deadman', f'{message.source} is silent', ALARM)
        level = ALARM if message.state == TeleopStatus.LOST else WARN if reason else OK
        return Line('deadman', f'{text}  {reason}'.rstrip(), level)

    def _episode_lines(self) -> list[Line]:
        message = self._newest.get(topics.EPISODE.name)
        if message is None:
            return [Line('episode', 'no episode node heard; is it running?', WARN)]
        left = self.time_left()
        phase = PHASES.get(message.phase, '?')
        label = OUTCOMES.get(message.outcome.value, '?')
        wants = message.phase == EpisodeState.LABELLING and message.outcome.value == 0
        state = f'{phase}  {message.episode_id}  {label}  {message.detail}'.strip()
        lines = [Line('task', f'{message.task}  "{message.instruction}"' if message.task else '-'),
                 Line('episode', state, WARN if wants else OK)]
        if left is not None:
            lines.append(Line('time left', f'{left:.0f} s of {message.time_limit:.0f} s',
                              WARN if left < SOON else OK))
        return lines

    def _policy_line(self, wall: float) -> Line:
        message = self._newest.get(topics.POLICY_STATUS.name)
        if message is None:
            return Line('policy', 'no policy heard', WARN)
        state = POLICY.get(message.state, '?')
        text = f'{state}  {message.checkpoint[:12] or "no checkpoint"}'
        if message.checkpoint:
            text += f' step {message.checkpoint_step}'
        if message.pending_checkpoint:
            text += f', next {message.pending_checkpoint[:12]}'
        if message.rejected_reason:
            text += f', refused {message.rejected_checkpoint[:12]}: {message.rejected_reason}'
        if self.difference is not None and self.mode == 'HUMAN':
            text += f'  would be {self.difference:.2f} away'
        if wall - self._heard[topics.POLICY_STATUS.name] > 2 * STALE:
            return Line('policy', f'silent; was {text}', ALARM)
        level = ALARM if message.state == PolicyStatus.FAULT else (
            WARN if message.reason or message.rejected_reason else OK)
        return Line('policy', f'{text}  {message.reason}'.rstrip(), level)

    def _clamp_line(self, wall: float) -> Line:
        counts = ', '.join(f'{name} {count}' for name, count in list(self.clamped.items()) if count)
        fresh = wall - self._clamped_at < CLAMPS_SHOWN
        return Line('clamps', counts or 'none', WARN if counts and fresh else OK)

    def _recorder_line(self) -> Line:
        message = self._newest.get(topics.RECORDER_STATUS.name)
        if message is None:
            return Line('recorder', 'no recorder heard', WARN)
        text = (f'{RECORDER.get(message.state, "?")}  {message.bytes / 1e6:.1f} MB, '
                f'{message.lost_total} lost, {message.disk_free / 1e9:.0f} GB free')
        level = ALARM if message.state == RecorderStatus.FAULT else (
            WARN if message.lost_total else OK)
        return Line('recorder', f'{text}  {message.reason}'.rstrip(), level)

# SPDX-License-Identifier: Apache-2.0
"""A person at a device: when he drives, what his buttons ask for, and when he is not trusted.

    IDLE --deadman pressed--> DRIVING (or ALIGNING) --released, handed back, mode taken--> IDLE
    any --loss--> LOST --device sound and deadman seen released--> IDLE

Driving asks the arbiter for HUMAN and answers every tick; leaving it asks for HOLD, never for
POLICY: only the handback button does. The deadman acts when it is pressed anew: after a loss, a
handback, a refusal or an episode's boundary it must have been released first.

Pure: events in, effects out; `teleop_node.py` holds the clock and the topics.
"""

from __future__ import annotations

from dataclasses import dataclass

from lwd_intervention.arbiter.records import Vector
from lwd_intervention.episode.state import Phase
from lwd_intervention.modes import by_deadman, Mode
from lwd_intervention.teleop.controls import deadman_held, JoySample, Presses
from lwd_intervention.teleop.effects import (
    AskMode,
    CallEpisode,
    Effect,
    Say,
    SayWhy,
    SendCommand,
    State,
)
from lwd_intervention.teleop.health import Health, HealthConfig
from lwd_intervention.teleop.mapping import Mapping
from lwd_intervention.teleop.signals import REASON
from lwd_intervention.teleop.source import Step, TeleopSource


@dataclass(frozen=True)
class SessionConfig:
    """await_joy: answer a tick with the Joy of that tick (a scripted device in lockstep)."""

    health: HealthConfig = HealthConfig()
    await_joy: bool = False


class Session:
    """One device, one source, one robot."""

    def __init__(self, mapping: Mapping, source: TeleopSource,
                 config: SessionConfig | None = None) -> None:
        """Start IDLE with everything blocked until it was seen released."""
        self.config = config or SessionConfig()
        self.mapping, self.source = mapping, source
        self.state, self.reason = State.IDLE, ''
        self.held = dict.fromkeys(mapping.arms, False)
        self.health = Health(mapping, self.config.health)
        self.last_step: Step | None = None
        self._presses = Presses(mapping)
        self._armed = False                  # the deadman was seen released since it last mattered
        self._armed_from = 0                 # only samples of this stamp or later count for that
        self._mode = Mode.HOLD
        self._asked: Mode | None = None      # request under way
        self._driven = False                 # HUMAN is in force for us
        self._started = False                # our button started the episode under way
        self._episode: tuple[str, bool] = ('', False)
        self._phase = Phase.IDLE
        self._sent: Vector | None = None
        self._measured: Vector | None = None
        self._tick: int | None = None        # newest tick
        self._answered: int | None = None    # newest tick we commanded
        self._out: list[Effect] = []

    @property
    def driving(self) -> bool:
        """Tell whether commands are sent."""
        return self.state in (State.DRIVING, State.ALIGNING)

    # -- events ------------------------------------------------------------------------------

    def on_joy(self, sample: JoySample, now_ns: int) -> list[Effect]:
        """Take a message of the device."""
        fault = self.health.take(sample, now_ns) or self.health.trouble(now_ns)
        if fault:
            return self._lose(fault)
        self.source.look(sample)
        for action in self._presses.take(sample):   # first: a handback may come with the release
            self._act(action)
        self._take_deadman(sample, now_ns)
        waiting = self.config.await_joy and self.driving and self._tick is not None
        if waiting and self._answered != self._tick and sample.stamp_ns >= (self._tick or 0):
            self._answer_tick()
        return self._flush()

    def on_tick(self, stamp_ns: int) -> list[Effect]:
        """Take a control tick: the watchdog, and the command while driving."""
        self._tick = stamp_ns
        if trouble := self._trouble(stamp_ns):
            return self._lose(trouble)
        if self.driving and not (self.config.await_joy and self._behind(stamp_ns)):
            self._answer_tick()
        return self._flush()

    def on_mode(self, mode: Mode) -> list[Effect]:
        """Take the arbiter's mode."""
        self._mode = mode
        if mode is Mode.HUMAN:
            if self._asked is Mode.HUMAN:
                self._asked = None
            if self.driving and not self._driven:
                self._driven = True
                self._begin_source()
            elif not self.driving and self._started:
                self._ask(Mode.HOLD, 'waiting for the deadman')
            self._started = False
            return self._flush()
        waits = self._asked is Mode.HUMAN and not self._driven and mode is not Mode.ESTOP
        if self.driving and not waits:      # the robot was taken out of our hands
            self._stop(f'robot is in {mode.name}')
        return self._flush()

    def on_episode(self, episode_id: str, phase: Phase, now_ns: int) -> list[Effect]:
        """Take the state of the episode; nothing held acts across its boundaries."""
        self._phase = phase
        episode = (episode_id, phase in (Phase.RUNNING, Phase.LABELLING))
        if episode != self._episode:
            self._episode = episode
            self._presses.block(now_ns, keep=('estop',))
            self._disarm(now_ns)
        return self._flush()

    def on_answer(self, mode: Mode, accepted: bool, message: str) -> list[Effect]:
        """Take the arbiter's answer to a request of ours."""
        if self._asked is mode:
            self._asked = None
        if accepted:
            if mode is Mode.HUMAN and self._mode is Mode.HUMAN and self.driving and \
                    not self._driven:        # it was HUMAN already: no new mode will be told
                self._driven = True
                self._begin_source()
            return self._flush()
        self._out.append(Say(f'{mode.name} refused: {message}', warn=True))
        if mode is Mode.HUMAN and self.driving and not self._driven:
            self._stop(f'takeover refused: {message}')
        if mode is Mode.POLICY and not self.driving and self._mode is Mode.HUMAN:
            self._ask(Mode.HOLD, 'deadman released')
        return self._flush()

    def on_sent(self, positions: Vector) -> None:
        """Take what the arbiter sent [d]: a takeover starts from there."""
        self._sent = positions

    def on_joints(self, positions: Vector) -> None:
        """Take the measured joint positions [d]."""
        self._measured = positions

    def carry_over(self, before: Session) -> None:
        """Know the robot as an earlier session did: another device speaks now."""
        self._sent, self._measured, self._tick = before._sent, before._measured, before._tick

    def shutdown(self) -> list[Effect]:
        """Leave: the robot holds."""
        if self.driving:
            self._stop('teleoperation shut down')
            self._ask(Mode.HOLD, 'teleoperation shut down')
        return self._flush()

    # -- deadman -----------------------------------------------------------------------------

    def _take_deadman(self, sample: JoySample, now_ns: int) -> None:
        self.held = deadman_held(self.mapping, sample)
        if not any(self.held.values()):
            if sample.stamp_ns >= self._armed_from:
                self._armed = True
            if self.state is State.LOST and not self._trouble(now_ns):
                self.state, self.reason = State.IDLE, ''
            if self.driving:
                self._stop('')
                if self._asked is not Mode.POLICY:
                    self._ask(Mode.HOLD, 'deadman released')
        elif self._armed and self.state is State.IDLE:
            self._begin(now_ns)

    def _begin(self, now_ns: int) -> None:
        """Take over: offer the open tick its command first, then ask."""
        self._armed = False
        if self._mode is Mode.ESTOP:
            self.reason = 'robot is in ESTOP: release it first'
            self._out.append(Say(self.reason, warn=True))
            return
        if trouble := self._trouble(now_ns):
            self.reason = trouble
            self._out.append(Say(f'cannot take over: {trouble}', warn=True))
            return
        self.state, self.reason = State.DRIVING, ''
        self._driven = False
        if self._tick is not None:
            self._answer_tick()
        self._ask(Mode.HUMAN, by_deadman([arm for arm, held in self.held.items() if held]))

    def _disarm(self, now_ns: int) -> None:
        self._armed, self._armed_from = False, now_ns

    def _stop(self, reason: str) -> None:
        self.state, self.reason = State.IDLE, reason
        self._driven, self.last_step = False, None

    def _lose(self, fault: str) -> list[Effect]:
        was_driving, new = self.driving, self.state is not State.LOST
        self._stop(fault if new else self.reason)   # the first cause tells more than its sequel
        self.state = State.LOST
        self.held = dict.fromkeys(self.mapping.arms, False)
        self._disarm(0)
        self._presses.block(0, keep=('estop',))
        if was_driving:
            self._ask(Mode.HOLD, f'teleop lost: {fault}')
        if new:
            self._out.append(Say(f'{self.source.name}: {fault}', warn=True))
        return self._flush()

    # -- ticks -------------------------------------------------------------------------------

    def _trouble(self, now_ns: int) -> str:
        moving = self.driving and self.source.moving
        unknown = self._sent is None and self._measured is None
        return (self.health.trouble(now_ns, moving) or self.source.trouble(now_ns)
                or ('no joint state of the robot yet' if unknown else ''))

    def _behind(self, stamp_ns: int) -> bool:
        return self.health.newest_ns < stamp_ns

    def _answer_tick(self) -> None:
        assert self._tick is not None
        if self._answered == self._tick:
            return
        start = self._sent if self._sent is not None else self._measured
        assert start is not None
        positions = start                    # until HUMAN is in force the robot stays as it is
        if self._driven:
            step = self.source.step(self._tick, self.held, self._measured)
            self.last_step, positions = step, step.positions
            self.state = State.DRIVING if step.aligned else State.ALIGNING
            self.reason = step.reason
        self._answered = self._tick
        self._out.append(SendCommand(self._tick, positions))

    def _begin_source(self) -> None:
        start = self._sent if self._sent is not None else self._measured
        assert start is not None
        self.source.begin(start)

    # -- buttons -----------------------------------------------------------------------------

    def _act(self, action: str) -> None:
        episode_id, labellable = self._episode
        if action == 'estop':
            self._ask(Mode.ESTOP, 'e-stop button')
        elif action == 'handback':
            self._hand_back()
        elif action == 'start':
            self._start()
        elif action in ('success', 'failure', 'discard'):
            if labellable or (action == 'discard' and self._phase is not Phase.IDLE):
                self._out.append(CallEpisode(action, episode_id))
            else:
                self._out.append(Say(f'{action}: no episode is running', warn=True))
        elif action.startswith(REASON):
            words = action.removeprefix(REASON)
            self._out += [SayWhy(words), Say(f'reason: {words}')]
        elif told := self.source.act(action):
            self._out.append(Say(told))

    def _hand_back(self) -> None:
        if self._mode is Mode.POLICY:
            self._out.append(Say('the policy drives already'))
        else:
            self._ask(Mode.POLICY, 'handback button')

    def _start(self) -> None:
        if self._mode is Mode.ESTOP:
            self._ask(Mode.HOLD, 'emergency stop released')
        elif self._phase is Phase.IDLE:
            self._started = True
            self._out.append(CallEpisode('start', ''))
        else:
            self._out.append(Say('start: an episode is under way already', warn=True))

    def _ask(self, mode: Mode, reason: str) -> None:
        self._asked = mode
        self._out.append(AskMode(mode, reason))

    def _flush(self) -> list[Effect]:
        out, self._out = self._out, []
        return out

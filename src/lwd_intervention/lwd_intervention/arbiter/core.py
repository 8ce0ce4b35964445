# SPDX-License-Identifier: Apache-2.0
"""The arbiter: decides at every tick who drives, and is the only source of the robot's command.

    HOLD  --episode started, request, policy back--> POLICY --request (takeover)--> HUMAN
    POLICY, HUMAN --episode over, commands missing or invalid, clock jump, request--> HOLD
    HUMAN --request (handback)--> POLICY          any --request--> ESTOP --request HOLD--> HOLD

A tick is *open* until a command was sent for it, and it gets exactly one. The driver's commands
are forwarded on arrival; HOLD and ESTOP answer ticks by themselves, and a tick that its driver left
open is answered with a step towards standstill when the next one comes. A change of mode takes
effect at the open tick if there is one, else at the next: nothing stamped earlier, and nothing that
was planned from an earlier observation, is executed any more.

Pure and single-threaded: events in, records out; `arbiter_node.py` holds the lock and the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import time

import numpy as np

from lwd_core.clock import Tick
from lwd_core.guard_shield import Workspace
from lwd_core.robot import RobotSpec
from lwd_intervention.arbiter.commands import Commands
from lwd_intervention.arbiter.permits import Permits
from lwd_intervention.arbiter.pulse import Pulse
from lwd_intervention.arbiter.records import (
    ArbiterConfig,
    Episode,
    ModeChange,
    Output,
    Request,
    Vector,
)
from lwd_intervention.arbiter.takeovers import TakeoverLog
from lwd_intervention.arbiter.watch import RELEASED, Teleop
from lwd_intervention.modes import allowed, Cause, DRIVERS, Mode, STANDING, TAKEOVER

ARBITER = 'arbiter'  # requested_by of what nobody asked for


class Arbiter:
    """One robot's arbiter. Every method returns the records to publish, in order."""

    def __init__(
        self, robot: RobotSpec, config: ArbiterConfig | None = None,
        workspace: Workspace | None = None, steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start in HOLD, with no clock, no joint state and no episode; `steady` as TakeoverLog."""
        self.config = config or ArbiterConfig()
        self.mode = Mode.HOLD
        self.reason = 'started'
        self.takeovers = TakeoverLog(steady)
        self.commands = Commands(robot, workspace, self.config.max_ahead_periods)
        self._period = robot.period_ns
        self.refused, self.clamped = self.commands.refused, self.commands.clamped
        self._ticks, self._motion = self.commands.ticks, self.commands.motion
        self._pulse = Pulse(self.config, robot.period_ns)
        self._permits = Permits(self.config, robot.period_ns)
        self._around = self._permits.around
        self._resumable = False
        self._episode: Episode | None = None
        self._waiting_human: Request | None = None
        self._source = ''                   # of the person who drives, '' if not named
        self._person = ('', '', '')         # operator, source and reason of the newest request
        self._policy_meant = False          # the policy drives in this episode
        self._chunk = 0                     # of the last executed policy action
        self._out: list[Output] = []

    # -- what the node asks ------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Return the number of changes of mode so far."""
        return self.commands.epoch

    @property
    def executed(self) -> int:
        """Return the number of commands sent."""
        return self.commands.executed

    @property
    def open_tick(self) -> int | None:
        """Return the stamp of the newest tick if no command was sent for it yet."""
        return self._ticks.open

    @property
    def running(self) -> bool:
        """Tell whether an episode is running."""
        return self._episode is not None and self._episode.running

    @property
    def other_writers(self) -> tuple[str, ...]:
        """Return who else publishes the robot's command."""
        return self._around.writers

    @property
    def preparing(self) -> bool:
        """Tell whether an episode is about to run."""
        return self._episode is not None and self._episode.resetting

    # -- events ------------------------------------------------------------------------------

    def on_tick(self, tick: Tick) -> list[Output]:
        """Take a control tick: the watchdog, and the answer of HOLD and ESTOP."""
        if tick.reset:
            self._restart(tick.stamp_ns)
        elif self.mode in DRIVERS:
            self._hold_open_tick()  # its driver let it pass
        self._ticks.now = tick.stamp_ns
        self._out += self.takeovers.expire(tick.stamp_ns)
        if self.mode in DRIVERS:
            self._watch(tick.stamp_ns)
            self._start_human_at(tick.stamp_ns)
        elif self.config.hold_at_once:
            self._hold_open_tick()
        return self._flush()

    def on_joints(self, positions: Vector, stamp_ns: int | None = None) -> list[Output]:
        """Take the measured joint positions [d], in the robot file's order, and their stamp."""
        if not np.isfinite(positions).all():
            self.refused['joint_states: not finite'] += 1
            return self._flush()
        if stamp_ns is not None:
            self._around.joints_ns = stamp_ns
        if self._motion.measure(positions, self.preparing) and self.mode in STANDING:
            self._motion.forget()
        return self._flush()

    def on_writers(self, others: tuple[str, ...]) -> list[Output]:
        """Take who else publishes the robot's command; nobody drives while somebody does."""
        self._around.writers = others
        if others and self.config.hold_on_second_writer:
            self._transition(Mode.HOLD, Cause.WATCHDOG, self._around.other_writers(), ARBITER)
        return self._flush()

    def on_teleop_status(self, source: str, status: Teleop) -> list[Output]:
        """Take a source's deadman: released or lost, it stops the person who drives with it."""
        self._around.on_teleop(source, status)
        if self.mode is Mode.HUMAN and self._pulse.good is not None:
            reason = self._around.deadman(self._source, self._pulse.since)
            if reason:
                reason = reason if reason == RELEASED else f'teleop lost: {reason}'
                self._transition(Mode.HOLD, Cause.WATCHDOG, reason, ARBITER)
        return self._flush()

    def on_policy_command(self, request: Request) -> list[Output]:
        """Take a command of the policy; executed in POLICY only."""
        # In HOLD the arbiter has answered the tick already: that the policy speaks again is enough.
        back = self._ticks.refuse_age(request.stamp_ns) is None
        if self._resumable and self.mode is Mode.HOLD and back:
            self._resume()
        self._take(Mode.POLICY, request)
        return self._flush()

    def on_human_command(self, request: Request) -> list[Output]:
        """Take a command of the person; executed in HUMAN only."""
        self._waiting_human = request
        self._take(Mode.HUMAN, request)
        return self._flush()

    def on_policy_status(self, ready: bool, reason: str, checkpoint: str) -> list[Output]:
        """Take whether the policy can act, why not, and the digest it acts with."""
        self._permits.take_policy(ready, reason, checkpoint)
        if ready and self._resumable and self.mode is Mode.HOLD:
            self._resume()
        return self._flush()

    def on_words(self, words: str) -> list[Output]:
        """Take why the person took over, takes over or is about to, in his words."""
        self._out += self.takeovers.say(words, self._ticks.now or 0)
        return self._flush()

    def on_episode(self, episode: Episode) -> list[Output]:
        """Take the episode's state: RUNNING hands over to its driver, leaving it holds."""
        before, self._episode = self._episode, episode
        was = before or Episode('', False)
        new = not was.running or episode.id != was.id
        if was.running and (new or not episode.running):
            self._transition(Mode.HOLD, Cause.EPISODE, 'episode ended', 'episode')
        if not (episode.running or episode.labelling):  # recording closed: words miss it
            self._out += self.takeovers.forget()
        if episode.running and new:
            self._begin(episode, known=before is not None)
        return self._flush()

    def request_mode(
        self, mode: Mode, operator: str = '', source: str = '', reason: str = '',
    ) -> tuple[bool, str, list[Output]]:
        """Ask for a mode; return whether it was granted, why not and what to do, and records."""
        refusal = self._permits.refuse_request(self.mode, mode, self.running)
        if refusal is not None or mode is self.mode:
            return refusal is None, refusal or f'already in {mode.name}', self._flush()
        default = {Mode.HUMAN: TAKEOVER, Mode.POLICY: 'handback', Mode.HOLD: 'hold requested',
                   Mode.ESTOP: 'emergency stop'}[mode]
        if (self.mode, mode) == (Mode.ESTOP, Mode.HOLD):
            default = 'emergency stop released'
        before, reason = self.mode, reason or default
        said = self.takeovers.worded(reason) if mode is Mode.HUMAN else reason
        self._transition(mode, Cause.REQUEST, said, operator or 'operator')
        if mode is Mode.HUMAN:
            self._source, self._person = source, (operator, source, reason)
            self._start_takeover(before, self._pulse.since)
            self._take_open_tick_for_human()
        return True, f'{before.name} to {mode.name}', self._flush()

    def answer_open_tick(self) -> list[Output]:
        """Hold for a tick that stands open too long on the wall clock (lockstep simulation)."""
        if self.mode in DRIVERS and self.open_tick is not None and self._pulse.silent():
            self._lose_driver(f'{self.mode.name.lower()} silent')
        self._hold_open_tick()
        return self._flush()

    def shutdown(self) -> list[Output]:
        """Hold and close what is open; the arbiter is gone afterwards."""
        self._transition(Mode.HOLD, Cause.WATCHDOG, 'arbiter shut down', ARBITER)
        self._out += self.takeovers.forget()
        return self._flush()

    # -- transitions -------------------------------------------------------------------------

    def _transition(self, mode: Mode, cause: Cause, reason: str, by: str) -> bool:
        if not allowed(self.mode, mode, cause):
            return False
        since = self._ticks.next_free
        self._end_takeover(mode, reason, since)
        previous, self.mode, self.reason = self.mode, mode, reason
        self._policy_meant |= mode is Mode.POLICY
        self._source = ''
        self._resumable = False
        self.commands.epoch += 1
        self._pulse.begin(since)
        self._out.append(ModeChange(since, mode, previous, reason, by,
                                    self.commands.tick_index(since), self.epoch))
        if mode in STANDING:
            self._hold_open_tick()
        return True

    def _begin(self, episode: Episode, known: bool) -> None:
        origin = self.commands.origin = self._ticks.next_free
        self._chunk = 0
        self._out += self.takeovers.forget()
        self._policy_meant = episode.start_mode is Mode.POLICY
        if not known:  # restarted amid an episode: a robot must not set off by itself
            self.commands.origin = self._ticks.floor(episode.started_ns) or origin
            self.takeovers.restarted = True
            return
        if self.mode is Mode.HUMAN:  # whoever drives goes on; the policy waits for a handback
            self._start_takeover(self.mode, origin)
            return
        self._transition(Mode.HOLD, Cause.EPISODE, 'episode started', 'episode')
        if self._permits.blocked:
            return
        if episode.start_mode is Mode.POLICY and not self._permits.policy_can_act:
            self._resumable = self.config.resume_after_starvation and self.mode is Mode.HOLD
            return
        self._transition(episode.start_mode, Cause.EPISODE, 'episode started', 'episode')
        if self.mode is Mode.HUMAN:
            self._take_open_tick_for_human()

    def _resume(self) -> None:
        if self.running and self._permits.may_resume(self._ticks.now):
            self._transition(Mode.POLICY, Cause.RESUME, 'policy is back', ARBITER)

    def _lose_driver(self, reason: str) -> None:
        fault = self._pulse.fault
        starved = self.mode is Mode.POLICY and not fault
        if fault:
            reason = f'{self.mode.name.lower()} command invalid: {fault}'
        if self._transition(Mode.HOLD, Cause.WATCHDOG, reason, ARBITER):
            self._resumable = starved and self.config.resume_after_starvation

    def _watch(self, now: int) -> None:
        old = self._around.old_joints(now)
        if old:
            self._lose_driver(old)
            return
        missing = self._pulse.missing(now)
        if missing is not None:
            word = 'policy starved' if self.mode is Mode.POLICY else 'teleop lost'
            self._lose_driver(f'{word}: no command for {missing:.2f} s')

    def _restart(self, now: int) -> None:
        """Forget stamps of the time before the clock jumped."""
        self._ticks.restart(now)
        self._around.restart(now)
        self._waiting_human = None
        self.commands.origin = now if self._episode is not None else None
        self._out += self.takeovers.forget()
        self._motion.clock_jumped()
        self._transition(Mode.HOLD, Cause.WATCHDOG, 'clock jumped', ARBITER)

    # -- takeovers ---------------------------------------------------------------------------

    def _start_takeover(self, before: Mode, since: int) -> None:
        """Note a takeover; a person who demonstrates or tidies up takes nothing over."""
        episode = self._episode
        if episode is None or not episode.running or not self._policy_meant:
            return
        self._out.append(self.takeovers.start(
            since, self.commands.tick_index(since), episode.id, *self._person,
            self._permits.checkpoint, self._chunk if before is Mode.POLICY else 0))

    def _end_takeover(self, mode: Mode, reason: str, since: int) -> None:
        if self.mode is Mode.HUMAN:
            why = 'handback' if mode is Mode.POLICY else reason
            ended = self.takeovers.end(since, self.commands.tick_index(since), why)
            self._out += [ended] if ended is not None else []

    def _take_open_tick_for_human(self) -> None:
        """Answer the tick the takeover found open: in lockstep nobody else may."""
        if self._waiting_human is not None and self.open_tick is not None:
            if self._ticks.floor(self._waiting_human.stamp_ns) == self.open_tick:
                self._take(Mode.HUMAN, self._waiting_human)
        self._hold_open_tick()

    def _start_human_at(self, tick: int) -> None:
        """Answer a person's first tick with the command he gave in the tick before.

        He reacts within a tick this way, whenever his source sends its next command.
        """
        waiting = self._waiting_human
        if not self.config.start_at_tick or waiting is None or self._pulse.good is not None:
            return
        if self.mode is Mode.HUMAN and self._ticks.floor(waiting.stamp_ns) == tick - self._period:
            self._take(Mode.HUMAN, replace(waiting, stamp_ns=tick))

    # -- commands ----------------------------------------------------------------------------

    def _take(self, driver: Mode, request: Request) -> None:
        refusal = self._refuse(driver, request)
        if refusal is not None:
            self.commands.refuse(driver, refusal)
            return
        executed, fault = self.commands.send(driver, request)
        self._out += executed
        if fault:
            self._pulse.fault = fault
        elif executed:
            self._pulse.beat(executed[0].stamp_ns)
            if driver is Mode.POLICY:
                self._chunk = request.tag.chunk if request.tag is not None else 0

    def _refuse(self, driver: Mode, request: Request) -> str | None:
        if self.mode is not driver:
            return f'in {self.mode.name}'
        if self._ticks.floor(request.stamp_ns) < self._pulse.since:
            return 'older than the mode change'
        if request.tag is not None:
            refusal = self._permits.refuse_plan(
                self._ticks.floor(request.stamp_ns), request.tag, self.epoch, self._pulse.since)
            if refusal is not None:
                return refusal
        if driver is Mode.HUMAN and self._around.deadman(self._source):
            return RELEASED
        return self._ticks.refuse(request.stamp_ns)

    def _hold_open_tick(self) -> None:
        self._out += self.commands.hold()

    def _flush(self) -> list[Output]:
        out, self._out = self._out, []
        return out

# SPDX-License-Identifier: Apache-2.0
"""The episode state machine: from reset to label, each attempt with an outcome of its own.

    IDLE -> RESETTING -> READY -> RUNNING -> LABELLING -> IDLE
    RESETTING, READY --failed, stopped, took too long--> IDLE (discarded: it never ran)
    RUNNING --label, time limit, stop, emergency stop--> LABELLING

LABELLING ends once the outcome is known and the arbiter stands, so that the end of a takeover is
still in the bag, or after `label_timeout` as UNLABELLED. The time limit runs on ROS time; waiting
for people and programs runs on wall time, which goes on when a simulation is gone.

Pure: events in, the states to publish out, in order. `now` is ns of ROS time, `wall` s, monotonic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lwd_core.clock import NS_PER_S
from lwd_core.task import TaskSpec
from lwd_intervention.episode.presses import Presses
from lwd_intervention.episode.readiness import EpisodeConfig, Readiness
from lwd_intervention.episode.requests import check_scores, check_start, Refused, Start
from lwd_intervention.episode.state import (
    EpisodeIds,
    Outcome,
    Phase,
    PREPARING,
    State,
    Stop,
    TRANSITIONS,
)
from lwd_intervention.modes import Mode, STANDING

SETTLE = 1.0  # s of wall time to wait for the arbiter to stand before closing all the same


class EpisodeMachine:
    """One robot's episodes."""

    def __init__(self, config: EpisodeConfig, tasks: Mapping[str, TaskSpec]) -> None:
        """Start IDLE."""
        self.config = config
        self.state = State()
        self.takeovers = 0
        self.refused = 0  # labels and discards not granted since the start
        self._presses = Presses()
        self._tasks = tasks
        self._ids = EpisodeIds(config.robot)
        self._now = 0            # ns of ROS time, newest tick
        self._since = 0.0        # wall time this phase began
        self._alive = 0.0        # wall time of the newest tick with an arbiter
        self._ready = Readiness(config)
        self._success: bool | None = None
        self._arbiter_gone = False
        self._out: list[State] = []

    # -- requests ----------------------------------------------------------------------------

    def start(self, request: Start, wall: float, utc_ms: int) -> list[State]:
        """Begin an episode; raise Refused if that is not possible now."""
        if self.state.phase is not Phase.IDLE:
            raise Refused(f'episode {self.state.id} is {self.state.phase.name}; '
                          'stop or label it first')
        task = check_start(request, self._tasks)
        if self._ready.mode is Mode.ESTOP:
            raise Refused('the emergency stop is active; release it by requesting HOLD')
        self.takeovers = 0
        self._ready.begin()
        self.state = State(
            id=self._ids.make(task.name, utc_ms), task=task.name,
            instruction=request.instruction or task.instruction, start_mode=request.start_mode,
            time_limit=request.time_limit or task.time_limit, seed=request.seed)
        self._to(Phase.RESETTING, wall)
        if not self.config.reset_scene:
            self._to(Phase.READY, wall)
            self._proceed(wall)
        return self._flush()

    def label(
        self, episode_id: str, outcome: int, scores: Sequence[float], operator: str, detail: str,
        wall: float,
    ) -> list[State]:
        """Label the running episode, which stops it, or the one in LABELLING."""
        held = self._held(episode_id, wall)
        self._labelled(episode_id)
        scores = check_scores(scores, self._tasks[self.state.task])
        if outcome not in (Outcome.SUCCESS, Outcome.FAILURE, Outcome.DISCARDED):
            raise Refused(f'outcome {outcome} is no label: SUCCESS 1, FAILURE 2 or DISCARDED 3')
        if held:
            raise Refused('the button was down before this episode began; let go and press again, '
                          'or name the episode')
        return self._label(Outcome(outcome), scores, operator, detail, wall)

    def discard(self, episode_id: str, operator: str, reason: str, wall: float) -> list[State]:
        """Keep the episode out of learning, in whatever phase it is."""
        self._current(episode_id)
        if self.state.phase in PREPARING:
            if self._held(episode_id, wall):
                raise Refused('the button was down before this episode began; let go first')
            self._give_up(Stop.REQUESTED, reason or 'discarded before it ran', wall, operator)
            return self._flush()
        return self.label(episode_id, Outcome.DISCARDED, (), operator, reason, wall)

    def stop(self, reason: str, wall: float) -> list[State]:
        """Stop the episode; the label may follow."""
        if self.state.phase in PREPARING:
            self._give_up(Stop.REQUESTED, reason or 'stopped before it ran', wall)
        elif self.state.phase is Phase.RUNNING:
            self._stop(Stop.REQUESTED, reason or 'stop requested', wall)
        else:
            raise Refused(f'nothing to stop: phase is {self.state.phase.name}')
        return self._flush()

    # -- events ------------------------------------------------------------------------------

    def on_tick(self, now: int, wall: float) -> list[State]:
        """Take a control tick: the time limit, and the settling of the scene."""
        self._now = now
        if not self._arbiter_gone:
            self._alive = wall
        if self.state.phase is Phase.READY:
            self._ready.settling = max(0, self._ready.settling - 1)
            self._proceed(wall)
        elif self.state.phase is Phase.RUNNING:
            if now < self.state.started_ns:
                self._stop(Stop.FAULT, 'the clock jumped back', wall)
            elif now - self.state.started_ns >= self.state.time_limit * NS_PER_S:
                self._time_is_up(wall)
        return self._flush()

    def on_wall(self, wall: float) -> list[State]:
        """Take wall time: end what was waited for in vain."""
        waited, phase = wall - self._since, self.state.phase
        if phase is Phase.RESETTING and waited > self.config.reset_timeout:
            self._give_up(Stop.FAULT, f'reset_scene gave no answer in {waited:.0f} s', wall)
        elif phase is Phase.READY and waited > self.config.prepare_timeout:
            self._give_up(Stop.FAULT, f'{self.missing} (waited {waited:.0f} s)', wall)
        elif phase is Phase.RUNNING and wall - self._alive > self.config.loss_timeout:
            lost = 'arbiter' if self._arbiter_gone else 'clock'
            self._stop(Stop.FAULT, f'no {lost} for {wall - self._alive:.0f} s', wall)
        elif phase is Phase.LABELLING and self._is_labelled() and waited > SETTLE:
            self._to(Phase.IDLE, wall)
        elif phase is Phase.LABELLING and waited > self.config.label_timeout:
            self._to(Phase.IDLE, wall)
        return self._flush()

    def on_reset_done(self, episode_id: str, ok: bool, message: str, wall: float) -> list[State]:
        """Take the answer of reset_scene."""
        if self.state.phase is Phase.RESETTING and self.state.id == episode_id:
            if ok:
                # The tick that is open now still shows the scene before the reset.
                self._ready.settling = self.config.settle_ticks + 1
                self._to(Phase.READY, wall)
                self._proceed(wall)
            else:
                self._give_up(Stop.FAULT, f'reset_scene failed: {message}', wall)
        return self._flush()

    def on_recorder(self, episode_id: str, fault: str, wall: float) -> list[State]:
        """Take which episode the recorder records ('' for none) and its fault."""
        self._ready.recording, self._ready.recorder_fault = episode_id, fault
        self._proceed(wall)
        return self._flush()

    def on_policy(self, ready: bool, reason: str, wall: float) -> list[State]:
        """Take whether the policy can act."""
        self._ready.policy_ready, self._ready.policy_reason = ready, reason or 'not ready'
        self._proceed(wall)
        return self._flush()

    def on_mode(self, mode: Mode, reason: str, wall: float) -> list[State]:
        """Take who drives."""
        self._ready.mode = mode
        if mode is Mode.ESTOP and self.state.phase in PREPARING:
            self._give_up(Stop.ESTOP, reason, wall)
        if mode is Mode.ESTOP and self.state.phase is Phase.RUNNING:
            self._stop(Stop.ESTOP, reason, wall)
        self._proceed(wall)
        return self._flush()

    def phase_age(self, wall: float) -> float:
        """Return for how long [s of wall time] this phase has lasted."""
        return wall - self._since

    def on_arbiter(self, present: bool) -> None:
        """Take whether somebody publishes control_mode at all."""
        self._arbiter_gone = self.config.require_arbiter and not present

    def on_success(self, success: bool, wall: float) -> list[State]:
        """Take the automatic success test; only its rise within the run counts."""
        rose = success and self._success is False
        self._success = success
        if rose and self.config.auto_success and self.state.phase is Phase.RUNNING:
            return self._label(Outcome.SUCCESS, (), 'success topic', '', wall)
        return self._flush()

    def on_success_service(self, episode_id: str, message: str, wall: float) -> list[State]:
        """Take that a detector saw the success of an episode; refused if it does not run."""
        self._current(episode_id)
        if self.state.phase is not Phase.RUNNING:
            raise Refused(f'no episode is running: phase is {self.state.phase.name}')
        return self._label(Outcome.SUCCESS, (), 'success service', message, wall)

    def on_takeover(self, episode_id: str) -> None:
        """Count a takeover of the current episode."""
        self.takeovers += episode_id == self.state.id

    # -- checks ------------------------------------------------------------------------------

    def _held(self, episode_id: str, wall: float) -> bool:
        """Tell whether an unnamed request comes from a button held across the boundary."""
        if episode_id:
            return False
        ran = self.state.phase in (Phase.RUNNING, Phase.LABELLING)
        return self._presses.held(self.state.id if ran else '', wall)

    def _current(self, episode_id: str) -> None:
        if self.state.phase is Phase.IDLE:
            raise Refused('no episode is active; relabel finished ones with `lwd episodes label`')
        if episode_id not in ('', self.state.id):
            raise Refused(f'episode {episode_id} is not the current one, which is {self.state.id}; '
                          'relabel finished ones with `lwd episodes label`')

    def _labelled(self, episode_id: str) -> None:
        self._current(episode_id)
        if self.state.phase in PREPARING:
            raise Refused(f'episode {self.state.id} has not run yet; discard or stop it')
        if self._is_labelled():
            raise Refused(f'episode {self.state.id} is labelled {self.state.outcome.name} already')

    def _is_labelled(self) -> bool:
        return self.state.outcome is not Outcome.UNLABELLED

    @property
    def missing(self) -> str:
        """Return what READY still waits for, '' if nothing."""
        return self._ready.missing(self.state)

    # -- transitions -------------------------------------------------------------------------

    def _proceed(self, wall: float) -> None:
        """Go on where nothing has to be waited for any more."""
        if self.state.phase is Phase.READY and not self.missing:
            self.state = replace(self.state, started_ns=self._now)
            self._alive = wall
            self._to(Phase.RUNNING, wall)
        elif self.state.phase is Phase.LABELLING and self._is_labelled():
            if self._ready.mode is None or self._ready.mode in STANDING:
                self._to(Phase.IDLE, wall)

    def _label(
        self, outcome: Outcome, scores: tuple[float, ...], operator: str, detail: str, wall: float,
    ) -> list[State]:
        self.state = replace(
            self.state, outcome=outcome, substep_scores=scores, labelled_by=operator,
            detail='; '.join(part for part in (self.state.detail, detail) if part))
        if self.state.phase is Phase.RUNNING:
            self._stop(Stop.LABELLED, f'labelled by {operator or "nobody named"}', wall)
        self._proceed(wall)
        return self._flush()

    def _time_is_up(self, wall: float) -> None:
        self._stop(Stop.TIME_LIMIT, f'time limit of {self.state.time_limit:.1f} s', wall)
        judge = 'success topic' if self.config.auto_success else 'success service'
        if self.config.auto_success or self.config.ask_success:
            self.state = replace(self.state, outcome=Outcome.FAILURE, labelled_by=judge)
            self._proceed(wall)

    def _stop(self, stop: Stop, detail: str, wall: float) -> None:
        self.state = replace(
            self.state, stop=stop, ended_ns=self._now,
            detail='; '.join(part for part in (detail, self.state.detail) if part))
        self._to(Phase.LABELLING, wall)

    def _give_up(self, stop: Stop, detail: str, wall: float, by: str = 'episode') -> None:
        """End an episode that never ran: nothing of it is to be learned from."""
        self.state = replace(self.state, stop=stop, outcome=Outcome.DISCARDED, detail=detail,
                             labelled_by=by)
        self._to(Phase.IDLE, wall)

    def _to(self, phase: Phase, wall: float) -> None:
        assert phase in TRANSITIONS[self.state.phase], (self.state.phase, phase)
        self.state = replace(self.state, phase=phase)
        self._since = wall
        self._out.append(self.state)

    def _flush(self) -> list[State]:
        out, self._out = self._out, []
        return out

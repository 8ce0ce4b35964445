# SPDX-License-Identifier: Apache-2.0
"""The policy's control loop without ROS: ticks, modes, samples and chunks in; commands out.

Each tick in POLICY is answered once: at once if the scheduler has its row, otherwise as soon as the
chunk arrives while the tick is still the newest one. A tick that passes unanswered is starved; its
row is never executed later. The caller holds one lock around every call: ticks, samples and replies
come from different threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
import time

from lwd_core.chunking import Actions, Chunk, ChunkRequest, ChunkScheduler
from lwd_core.observation import Observation, ObservationAssembler, ObservationError
from lwd_policy_node.cadence import Cadence
from lwd_policy_node.planning import chunk_seed, ChunkReport, Outputs, Planned, Situation


@dataclass
class _Now:
    """The newest tick."""

    stamp_ns: int = -1
    received: float = 0.0
    answered: bool = True
    deferred: bool = False  # waits for the samples stamped with it
    blind: bool = False  # no observation could be joined: the next sample may make one
    had_row: bool = True  # False: had to wait for a chunk
    ours_ns: int = -1  # since when it is the policy's, where that was after its stamp
    reason: str = ''


@dataclass
class ControlLoop:
    """One robot's policy loop; see the module's docstring."""

    period_ns: int
    scheduler: ChunkScheduler
    outputs: Outputs
    join_wait: float = 0.0  # s of wall time a tick waits for the samples stamped with it
    awaited: tuple[str, ...] = ()  # the sources that sample at every tick
    shadow: bool = False  # plan also while a person drives
    wall: Callable[[], float] = time.perf_counter
    # The clock that lateness is told by: the robot's. A simulation in lockstep waits, so that a
    # tick answered slowly is not late, and one that it stepped past is. None: since `on_tick`.
    now_ns: Callable[[], int] | None = None
    assembler: ObservationAssembler | None = None
    decode: bool = True  # False: images stay as they came, for whoever computes to decode
    situation: Situation = field(default_factory=Situation)
    cadence: Cadence = field(default_factory=Cadence)
    ticks: int = 0
    late_ticks: int = 0
    starved_ticks: int = 0
    starving: str = ''  # why the newest tick had no action; '' if it had one

    def __post_init__(self) -> None:
        self._now = _Now()
        self._planned: Planned | None = None
        self._next_chunk = 1
        self._published_ns = -1  # stamp of the newest command
        self._fresh_after_ns = -1  # newest tick whose samples show the scene before its reset

    # -- what happens around the loop

    def set_mode(self, policy: bool, human: bool, epoch: int, stamp_ns: int) -> None:
        """Take a mode transition: nothing planned before it is executed after it."""
        situation = self.situation
        situation.policy_drives, situation.human_drives = policy, human
        situation.epoch, situation.mode_stamp_ns = epoch, stamp_ns
        self.scheduler.reset(epoch)
        self._planned, self.starving = None, ''
        self.cadence.pause()
        if not policy:
            self._now.answered, self._now.deferred = True, False
            return
        # The arbiter may have handed over during the newest tick: answer that one already, unless
        # it had an answer before.
        if self._is_ours(self._now.stamp_ns) and self._now.stamp_ns > self._published_ns:
            self._now.answered = False
            if self.now_ns is None:
                self._now.received = self.wall()
            else:
                self._now.ours_ns = self.now_ns()
            self._step()

    def scene_was_reset(self) -> None:
        """The scene is another one: samples up to the newest tick show the one before."""
        self._fresh_after_ns = self._now.stamp_ns
        self._now.answered, self._now.deferred, self._now.blind = True, False, False
        self._forget()

    def set_assembler(self, assembler: ObservationAssembler | None) -> None:
        """Observe by another specification from now on."""
        self.assembler = assembler
        self._forget()

    def clock_jumped(self) -> None:
        """Forget every sample and chunk: stamps are not comparable across the jump."""
        if self.assembler is not None:
            self.assembler.reset()
        self._now = _Now()
        self._published_ns = self._fresh_after_ns = -1
        self._forget()

    def _forget(self) -> None:
        self.scheduler.reset(self.situation.epoch)
        self._planned = None

    # -- the loop

    @property
    def ready(self) -> bool:
        """Tell whether a policy could act."""
        return bool(self.situation.gate_open and self.situation.digest
                    and self.situation.instruction and self.assembler is not None)

    @property
    def active(self) -> bool:
        """Tell whether ticks are to be answered."""
        return self.ready and self.situation.policy_drives

    @property
    def shadowing(self) -> bool:
        """Tell whether chunks are planned to be compared with what a person does."""
        return self.shadow and self.ready and self.situation.human_drives

    def on_tick(self, stamp_ns: int, missed: int = 0) -> None:
        """Take the next control tick."""
        self._close_tick(missed)
        # A clock message may come after the mode change that made its tick another driver's.
        mine = self._is_ours(stamp_ns)
        ours = mine and self.active
        self._now = _Now(stamp_ns, self.wall(), answered=not ours)
        if ours:
            self.ticks += 1
            self.cadence.tick(self._now.received, stamp_ns)
        if ours or (mine and self.shadowing):
            self._now.deferred = self.join_wait > 0 and not self._complete()
            if not self._now.deferred:
                self._step()

    def on_sample(self) -> None:
        """A sample was added to the assembler: a tick that waits for it may go on now.

        After a handover every sample may be older than it, and the tick's own come after the tick.
        """
        if self._now.deferred and self._complete():
            self._undefer()
        elif self._now.blind and not self._now.answered:
            self._step()

    def on_wait(self) -> None:
        """Time passed: a deferred tick waits no longer than `join_wait`."""
        if self._now.deferred and self.wall() - self._now.received >= self.join_wait:
            self._undefer()

    def on_chunk(self, chunk_id: int, actions: Actions, inference: float,
                 sections: Mapping[str, float] | None = None) -> None:
        """Take a chunk from the worker; publish the newest tick's action if it waited for it."""
        planned = self._planned
        if planned is None or planned.chunk_id != chunk_id:
            self.cadence.refused_chunks += 1  # planned before the last mode change
            return
        self._planned = None
        latency = self.wall() - planned.requested
        chunk = Chunk(chunk_id, planned.epoch, planned.index, actions)
        receipt = self.scheduler.receive(chunk, self._index())
        if not planned.shadow:
            self.cadence.chunk(latency, inference, sections or {})
        if not receipt.accepted:
            self.cadence.refused_chunks += 1
            self._now.reason = receipt.reason
        elif not planned.shadow:
            self.cadence.delay(receipt.delay)
        if not self._now.answered and not self._now.deferred:
            self._step()
        # After the command: the record can wait, the robot cannot.
        self.outputs.chunk(ChunkReport(
            planned, actions, latency, inference, receipt.delay, receipt.accepted))

    def on_failed(self, chunk_id: int, reason: str) -> None:
        """The worker could not compute the chunk; the next tick asks again."""
        planned = self._planned
        if planned is not None and planned.chunk_id == chunk_id:
            self._planned = None
            self.scheduler.withdraw(planned.index)
            self._now.reason = reason

    def worker_lost(self, reason: str) -> None:
        """No reply will come any more."""
        if self._planned is not None:
            self.on_failed(self._planned.chunk_id, reason)

    def waiting_for(self) -> float:
        """Return for how long [s of wall time] the chunk under way has been awaited; 0 if none."""
        return 0.0 if self._planned is None else self.wall() - self._planned.requested

    def end_episode(self) -> None:
        """Count the last tick before the report."""
        self._close_tick(0)

    # -- steps

    def _is_ours(self, stamp_ns: int) -> bool:
        """Tell whether a tick belongs to this mode and shows this episode's scene."""
        return stamp_ns >= self.situation.mode_stamp_ns and stamp_ns > self._fresh_after_ns

    def _index(self) -> int:
        return self._now.stamp_ns // self.period_ns

    def _complete(self) -> bool:
        """Tell whether every source has the sample stamped with the newest tick."""
        assert self.assembler is not None
        return self.assembler.complete(self._now.stamp_ns, self.awaited)

    def _undefer(self) -> None:
        self._now.deferred = False
        self._step()

    def _step(self) -> None:
        """Answer the newest tick, then plan if the scheduler wants it; the robot comes first."""
        self._answer()
        if self.active or self.shadowing:
            self._plan()
        self._answer()  # a backend that replies at once

    def _answer(self) -> None:
        """Publish the newest tick's action, if it has none yet and there is one."""
        if self._now.answered or not self.active:
            return
        decision = self.scheduler.action(self._index())
        if decision.action is None:
            self._now.reason = self._now.reason or decision.reason
            self._now.had_row = False
            return
        started = self.wall()
        self.outputs.command(self._now.stamp_ns, self.situation.epoch, decision)
        ended = self.wall()
        self._now.answered, self.starving = True, ''
        self._published_ns = self._now.stamp_ns
        self.cadence.published += 1
        self.cadence.add('publish', ended - started)
        self._judge_lateness(ended)

    def _judge_lateness(self, ended: float) -> None:
        if self.now_ns is None:
            lateness = ended - self._now.received
        else:
            due = max(self._now.stamp_ns, self._now.ours_ns)
            lateness = (self.now_ns() - due) / 1e9
        self.cadence.add('lateness', lateness)
        if lateness > self.period_ns / 2e9:
            self.late_ticks += 1
            self.cadence.late += 1
            self.cadence.waited += not self._now.had_row

    def _plan(self) -> None:
        request = self.scheduler.request(self._index())
        if request is None:
            return
        started = self.wall()
        try:
            observation = self._observe()
        except ObservationError as error:
            self.scheduler.withdraw(request.tick)
            self._now.reason, self._now.blind = str(error), True
            return
        self._now.blind = False
        shadow = not self.situation.policy_drives
        if not shadow:
            self.cadence.add('assemble', self.wall() - started)
        self._planned = self._planned_for(request, observation, started, shadow)
        self.outputs.infer(self._planned, observation)

    def _planned_for(self, request: ChunkRequest, observation: Observation, started: float,
                     shadow: bool) -> Planned:
        chunk_id, self._next_chunk = self._next_chunk, self._next_chunk + 1
        return Planned(
            chunk_id, request.epoch, request.tick, self._now.stamp_ns, observation.sources,
            self.situation.digest, chunk_seed(self.situation.episode_id, request.tick), started,
            shadow, request.continuation, request.running)

    def _observe(self) -> Observation:
        """Join the observation; refuse samples that show the time before the mode change."""
        assert self.assembler is not None
        observation = self.assembler.at(
            self._now.stamp_ns, self.situation.instruction, decode=self.decode)
        oldest = max(self.situation.mode_stamp_ns, self._fresh_after_ns + 1)
        for source, stamp in observation.sources.items():
            if stamp < oldest:
                raise ObservationError(
                    f'{source}: newest sample is of {stamp / 1e9:.3f} s, before the change of mode '
                    f'or scene at {oldest / 1e9:.3f} s')
        return observation

    def _close_tick(self, missed: int) -> None:
        """Count the tick that ends, and those that passed unseen, if they were not answered."""
        if not self.active:
            return
        self.cadence.missed += missed
        if not self._now.answered:
            self.starved_ticks += 1
            self.starving = self._now.reason or 'no action'
            self.cadence.starve(self.starving)
            self._now.answered = True

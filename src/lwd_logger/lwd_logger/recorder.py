# SPDX-License-Identifier: Apache-2.0
"""The recorder's state machine, without ROS.

    IDLE --episode READY--> RECORDING --episode IDLE, or another id--> CLOSING --> IDLE
    any --disk full, bag refused--> FAULT --next episode READY with disk enough--> RECORDING

RECORDING is not said before the robot was heard once: its subscriptions may be known, and still not
be connected, and an episode without its first seconds of sensors is worth nothing.

One thread (the writer) owns it: `handle` takes every received message, `tick` is called a few times
a second. Closing a bag and handing it over takes a slow disk's time, so it is given to `submit`, a
second thread that does one job after the other, and the next episode need not wait for it. Reports
go out through `report` whenever the state changes and once a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
import enum
import time
from typing import Any

from lwd_core.episode.definitions import DefinitionError, Definitions
from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.gaps import LossCounter
from lwd_core.episode.log import EpisodeLog, READY, RUNNING
from lwd_core.episode.log import IDLE as EPISODE_IDLE
from lwd_core.episode.meta import EpisodeMeta, valid_id
from lwd_core.episode.writer import EpisodeBagWriter, TopicTally
from lwd_core.robot import RobotSpec
from lwd_core.topics import EPISODE, JOINT_STATES, TopicSpec
from lwd_logger.config import MIB, RecorderParams
from lwd_logger.preroll import PreRoll, Received
from lwd_logger.spool import Log, Spool

_REPORT_PERIOD = 1.0  # s


class State(enum.IntEnum):
    """As in lwd_msgs/RecorderStatus."""

    IDLE = 0
    RECORDING = 1
    CLOSING = 2
    FAULT = 3


@dataclass(frozen=True)
class Status:
    """What the recorder says of itself."""

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
class _Open:
    """The episode being recorded."""

    writer: EpisodeBagWriter
    log: EpisodeLog
    broken: str = ''  # why nothing more is written


@dataclass
class Clocks:
    """Time as the recorder sees it; tests replace it."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], str] = field(
        default=lambda: datetime.now(timezone.utc).isoformat(timespec='milliseconds'))


class Recorder:
    """Record the topics in `specs` (by name relative to `/<robot name>`) episode by episode."""

    def __init__(
        self, name: str, robot: RobotSpec, specs: dict[str, TopicSpec], params: RecorderParams,
        spool: Spool, definitions: Definitions, report: Callable[[Status], None], log: Log,
        clock: str = 'wall', clocks: Clocks | None = None,
        submit: Callable[[Callable[[], None]], object] = lambda job: job(),
    ) -> None:
        self._name = name
        self._robot = robot
        self._specs = specs
        self._params = params
        self._spool = spool
        self._definitions = definitions
        self._report = report
        self._log = log
        self._clock = clock
        self._clocks = clocks or Clocks()
        self._submit = submit
        self._closing = 0  # bags given to `submit` and not done
        self.losses = LossCounter()
        self._preroll = PreRoll(round(params.pre_roll * 1e9), params.pre_roll_mib * MIB, specs)
        self._open: _Open | None = None
        self._heard = False  # the robot, ever
        self._fault = ''
        self._warned = False
        self._last_id = ''
        self._written = 0
        self._next_flush = self._next_report = self._next_retry = 0.0
        for spec in specs.values():
            definitions.get(spec.type)  # generate now, not when an episode waits

    def recover(self) -> None:
        """Complete and hand over what an earlier recorder left behind."""
        self._spool.recover(self._blank('recovered'))
        self._hand_over()

    def handle(self, message: Received) -> None:
        """Take one received message."""
        lost = self.losses.arrived(message.topic, message.sequence or None)
        if lost and self._open:
            self._tally(message.topic).lost += lost
        if message.topic == EPISODE.name:
            self._on_episode(message)
        else:
            # Also while recording: what comes just before this episode's end is the pre-roll of
            # the next, and a simulation in lockstep sends nothing more until that one runs.
            self._preroll.add(message)
            if self._open:
                self._write(self._open, message)
            if not self._heard and message.topic == JOINT_STATES.name:
                self._heard = True
                if self._open:
                    self.report()

    def lost(self, topic: str, count: int) -> None:
        """Count messages that are known to be lost."""
        self.losses.add(topic, count)
        if self._open:
            self._tally(topic).lost += count

    def tick(self) -> None:
        """Flush, watch the disk, retry the store, report: whatever is due."""
        now = self._clocks.monotonic()
        if now >= self._next_flush:
            self._next_flush = now + self._params.flush_period
            self._flush()
        if now >= self._next_retry:
            self._next_retry = now + self._params.retry_period
            self._submit(self._hand_over)
        if now >= self._next_report:
            self._watch_disk()
            self.report()

    def shut_down(self) -> None:
        """Close what is being recorded; an episode that was running stays UNLABELLED.

        Close the spool when all that was given to `submit` is done.
        """
        if self._open:
            self._close('the recorder was stopped')

    def status(self, state: State | None = None) -> Status:
        """Return the status; the state follows from what is open."""
        episode = self._open  # one read: the closing thread asks too
        if state is None:
            state = self._state(episode)
        writer = episode.writer if episode else None
        return Status(
            state, episode.log.meta.id if episode else '', self._last_id, self._reason(episode),
            writer.messages if writer else 0, writer.payload_bytes if writer else 0,
            tuple(writer.topics.values()) if writer else (), self.losses.total, self._written,
            self._spool.disk_free())

    def _state(self, episode: _Open | None) -> State:
        if episode is not None and not episode.broken and self._heard:
            return State.RECORDING
        if self._fault:
            return State.FAULT
        return State.CLOSING if self._closing else State.IDLE

    def _reason(self, episode: _Open | None) -> str:
        if episode is not None and not self._heard and not self._fault:
            return f'no {self._full(JOINT_STATES.name)} was ever received; does the robot publish?'
        return self._fault

    def report(self, state: State | None = None) -> None:
        """Publish the status now."""
        self._next_report = self._clocks.monotonic() + _REPORT_PERIOD
        self._report(self.status(state))

    def _on_episode(self, message: Received) -> None:
        state = self._decode(message)
        self._preroll.add(message)
        current = self._open.log.meta.id if self._open else ''
        other = state.episode_id != current
        if current and other and state.phase == EPISODE_IDLE and state.episode_id:
            return  # latched by somebody else: what it tells of is over
        if current and other:
            self._close(f'episode {state.episode_id or "none"} followed without its end')
            current = ''
        if current:
            assert self._open is not None
            self._write(self._open, message)
            if state.phase == EPISODE_IDLE:
                self._close()
        elif state.phase in (READY, RUNNING):
            self._start(state, message.log_ns)

    def _start(self, state: Any, now_ns: int) -> None:
        if not valid_id(state.episode_id):
            self._fail(f'episode id {state.episode_id!r} refused: 1 to 100 letters, digits, "_", '
                       '"." or "-"')
            return
        free, bound = self._spool.disk_free(), self._params.disk_stop_mib * MIB
        if free < bound:
            self._fail(f'{free // MIB} MiB free in {self._spool.path}, new episodes need '
                       f'{bound // MIB} MiB: make room')
            return
        opened = EpisodeMeta(**{
            **vars(self._blank(state.episode_id)), 'task': state.task,
            'instruction': state.instruction, 'recorded_at': self._clocks.wall()})
        try:
            self._open = self._open_bag(opened)
        except (OSError, DefinitionError) as error:
            self._fail(f'cannot open a bag in {self._spool.path}: {error}')
            return
        self._fault = ''
        self.losses.take()
        for message in self._preroll.drain(now_ns):
            self._write(self._open, message)
        if self._heard:
            self.report()

    def _open_bag(self, opened: EpisodeMeta) -> _Open:
        folder = self._spool.open(opened)
        writer = EpisodeBagWriter(folder, opened.id, self._definitions)
        for name, spec in self._specs.items():
            writer.add_topic(spec, self._full(name))
        writer.flush()
        return _Open(writer, EpisodeLog(opened))

    def _write(self, episode: _Open, message: Received) -> None:
        if message.topic in EpisodeLog.TOPICS:
            episode.log.add(message.topic, self._decode(message))
        if episode.broken:
            return
        try:
            episode.writer.write(self._full(message.topic), message.data, message.log_ns,
                                 message.publish_ns, message.sequence)
        except OSError as error:
            self._break(episode, error)

    def _flush(self) -> None:
        if self._open and not self._open.broken:
            try:
                self._open.writer.flush()
            except OSError as error:
                self._break(self._open, error)

    def _break(self, episode: _Open, error: OSError) -> None:
        """Stop writing this bag; what is in it stays, and the episode is followed to its end."""
        episode.writer.abort()
        episode.broken = (f'cannot write {episode.writer.partial} after '
                          f'{episode.writer.messages} messages: {error.strerror or error}')
        self._fail(f'{episode.broken}; what is written is kept: make room')

    def _close(self, detail: str = '') -> None:
        episode = self._open
        assert episode is not None
        self.report(State.CLOSING)
        self._open = None
        self._closing += 1
        self._submit(lambda: self._finish(episode, detail))

    def _finish(self, episode: _Open, detail: str) -> None:
        meta = episode.log.meta
        try:
            if episode.broken:
                # Room may have been made meanwhile. The outcome is left open: the end is missing.
                self._spool.recover(self._blank(meta.id), only=meta.id)
            elif episode.log.ran:
                self._complete(episode, detail)
            else:
                episode.writer.abort()
                self._spool.drop(meta.id)
                self._log('info', f'{meta.id}: never ran, its bag was removed')
        finally:
            self._closing -= 1
        self._hand_over()
        self.report()

    def _complete(self, episode: _Open, detail: str) -> None:
        meta = episode.log.meta
        try:
            bag = episode.writer.close(
                {'episode_id': meta.id, 'task': meta.task, 'outcome': meta.outcome})
            self._spool.complete(episode.log.finished(bag, detail))
        except OSError as error:
            self._break(episode, error)

    def _hand_over(self) -> None:
        for meta in self._spool.hand_over():
            self._last_id = meta.id
            self._written += 1
            lost = sum(int(topic['lost']) for topic in meta.topics.values())
            messages = sum(int(topic['count']) for topic in meta.topics.values())
            self._log('info', f'{meta.id}: {meta.outcome}, {messages} messages, {lost} lost, '
                              f'{int(meta.bag["bytes"]) / 1e6:.1f} MB in {meta.store_path}')

    def _watch_disk(self) -> None:
        free = self._spool.disk_free()
        low = free < self._params.disk_warn_mib * MIB
        if low and not self._warned:
            self._log('warning', f'{free // MIB} MiB free in {self._spool.path}: new episodes are '
                                 f'refused below {self._params.disk_stop_mib} MiB')
        self._warned = low

    def _fail(self, reason: str) -> None:
        self._fault = reason
        self._log('error', reason)
        self.report()

    def _blank(self, episode_id: str) -> EpisodeMeta:
        return EpisodeMeta(
            id=episode_id, robot=self._name, robot_digest=self._robot.digest,
            robot_spec=self._robot.to_dict(), task='', instruction='', clock=self._clock,
            recorded_at=self._clocks.wall())

    def _tally(self, topic: str) -> TopicTally:
        assert self._open is not None
        return self._open.writer.topics[self._full(topic)]

    def _decode(self, message: Received) -> Any:
        kind = self._specs[message.topic].type
        try:
            return self._definitions.typestore.deserialize_cdr(message.data, kind)
        except Exception as error:  # rosbags raises many kinds
            raise EpisodeError('damaged', f'{message.topic}: not a {kind}: {error}') from error

    def _full(self, topic: str) -> str:
        return topic if topic.startswith('/') else f'/{self._name}/{topic}'

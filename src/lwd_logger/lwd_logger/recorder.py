# SPDX-License-Identifier: Apache-2.0
"""The recorder's state machine, without ROS.

    IDLE --episode READY--> RECORDING --episode IDLE, or another id--> CLOSING --> IDLE
    RECORDING --disk full or nearly, bag too large--> FAULT, what is written is kept
    any --disk too small, bag refused, second recorder--> FAULT --next episode READY--> RECORDING

RECORDING is not said before the robot was heard once: its subscriptions may be known, and still not
be connected, and an episode without its first seconds of sensors is worth nothing.

One thread (the writer) owns it: `handle` takes every received message, `tick` is called a few times
a second. Closing a bag and handing it over takes a slow disk's time, so it is given to `submit`, a
second thread that does one job after the other, and the next episode need not wait for it. Reports
go out through `report` whenever the state changes and once a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lwd_core.episode.definitions import DefinitionError, Definitions
from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.gaps import LossCounter
from lwd_core.episode.log import EpisodeLog, READY, RUNNING
from lwd_core.episode.log import IDLE as EPISODE_IDLE
from lwd_core.episode.meta import EpisodeMeta, valid_id
from lwd_core.episode.writer import EpisodeBagWriter
from lwd_core.robot import RobotSpec
from lwd_core.topics import EPISODE, JOINT_STATES, TopicSpec
from lwd_logger.config import MIB, RecorderParams
from lwd_logger.open_bag import full_name, OpenBag
from lwd_logger.preroll import PreRoll, Received
from lwd_logger.spool import Log, Spool
from lwd_logger.status import Clocks, State, Status

__all__ = ['Clocks', 'Recorder', 'State', 'Status']
_REPORT_PERIOD = 1.0  # s
Offered = Callable[[str], 'list[dict[str, Any]]']


class Recorder:
    """Record the topics in `specs` (by name relative to `/<robot name>`) episode by episode."""

    def __init__(
        self, name: str, robot: RobotSpec, specs: dict[str, TopicSpec], params: RecorderParams,
        spool: Spool, definitions: Definitions, report: Callable[[Status], None], log: Log,
        clock: str = 'wall', clocks: Clocks | None = None,
        submit: Callable[[Callable[[], None]], object] = lambda job: job(),
        offered: Offered = lambda topic: [], sync: Callable[[int], None] | None = None,
    ) -> None:
        """`offered` says the QoS of a topic's publishers, `sync` makes a descriptor's file durable
        and closes it, without waiting.
        """
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
        self._offered = offered
        self._sync = sync
        self._prefix = f'/{name}/'
        self.rival = ''  # who else records this robot
        self._closing = 0  # bags given to `submit` and not done
        self.losses = LossCounter()
        self._preroll = PreRoll(round(params.pre_roll * 1e9), params.pre_roll_mib * MIB, specs)
        self._open: OpenBag | None = None
        self._heard = False  # the robot, ever
        self._fault = ''
        self._warned = False
        self._last_id = ''
        self._written = 0
        self._next_flush = self._next_sync = self._next_report = self._next_retry = 0.0
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
            self._open.tally(message.topic).lost += lost
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
            self._open.tally(topic).lost += count

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
            state, episode.id if episode else '', self._last_id, self._reason(episode),
            writer.messages if writer else 0, writer.payload_bytes if writer else 0,
            tuple(writer.topics.values()) if writer else (), self.losses.total, self._written,
            self._spool.disk_free())

    def _state(self, episode: OpenBag | None) -> State:
        if episode is not None and not episode.ended and self._heard:
            return State.RECORDING
        if self._fault:
            return State.FAULT
        return State.CLOSING if self._closing else State.IDLE

    def _reason(self, episode: OpenBag | None) -> str:
        if episode is not None and not self._heard and not self._fault:
            topic = full_name(self._prefix, JOINT_STATES.name)
            return f'no {topic} was ever received; does the robot publish?'
        return self._fault

    def report(self, state: State | None = None) -> None:
        """Publish the status now."""
        self._next_report = self._clocks.monotonic() + _REPORT_PERIOD
        self._report(self.status(state))

    def _on_episode(self, message: Received) -> None:
        state = self._decode(message)
        self._preroll.add(message)
        current = self._open.id if self._open else ''
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
        if self.rival:
            self._fail(f'{state.episode_id} is not recorded: {self.rival}')
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
        self._submit(lambda: self._spool.sync(opened.id))  # a robot waits for RECORDING
        self.losses.take()
        for message in self._preroll.drain(now_ns):
            self._write(self._open, message)
        if self._heard:
            self.report()

    def _open_bag(self, opened: EpisodeMeta) -> OpenBag:
        folder = self._spool.open(opened)
        writer = EpisodeBagWriter(
            folder, opened.id, self._definitions, self._params.compression)
        try:
            for name, spec in self._specs.items():
                writer.add_topic(spec, full_name(self._prefix, name), self._offered(name))
            writer.flush()
        except OSError:
            writer.abort()
            self._spool.drop(opened.id)
            raise
        return OpenBag(writer, EpisodeLog(opened), self._prefix)

    def _write(self, episode: OpenBag, message: Received) -> None:
        if message.topic in EpisodeLog.TOPICS:
            episode.log.add(message.topic, self._decode(message))
        ended = episode.ended
        missing = episode.write(message)
        if missing and not message.sequence:  # the middleware gives no numbers: the stamps count
            self.lost(message.topic, missing)
        if episode.ended != ended:
            self._fail(f'{episode.ended}; what is written is kept: make room')

    def _flush(self) -> None:
        episode = self._open
        if episode is None or episode.ended:
            return
        episode.flush()
        now = self._clocks.monotonic()
        if self._sync is not None and now >= self._next_sync and not episode.ended:
            self._next_sync = now + self._params.sync_period
            self._sync(episode.writer.sync_handle())
        free, floor = self._spool.disk_free(), self._params.disk_stop_mib * MIB // 4
        if free < floor:
            episode.stop(f'the recording stopped with {free // MIB} MiB free in '
                         f'{self._spool.path}, at least {floor // MIB} MiB stay free')
        elif episode.writer.payload_bytes > self._params.bag_max_gib * (1 << 30):
            episode.stop(f'the recording stopped at bag_max_gib, {self._params.bag_max_gib} GiB')
        if episode.ended:
            self._fail(f'{episode.ended}; what is written is kept: make room')

    def _close(self, detail: str = '') -> None:
        episode = self._open
        assert episode is not None
        self.report(State.CLOSING)
        self._open = None
        self._closing += 1
        self._submit(lambda: self._finish(episode, detail))

    def _finish(self, episode: OpenBag, detail: str) -> None:
        try:
            if not episode.damaged and not episode.log.ran:
                episode.writer.abort()
                self._spool.drop(episode.id)
                self._log('info', f'{episode.id}: never ran, its bag was removed')
            elif episode.damaged or not self._complete(episode, detail):
                # Room may have been made meanwhile. The outcome is left open: the end is missing.
                self._spool.recover(self._blank(episode.id), only=episode.id)
        finally:
            self._closing -= 1
        self._hand_over()
        self.report()

    def _complete(self, episode: OpenBag, detail: str) -> bool:
        try:
            self._spool.complete(episode.close(detail))
        except OSError as error:
            episode.writer.abort()
            self._fail(f'cannot close {episode.writer.partial}: {error.strerror or error}; what is '
                       'written is kept: make room')
            return False
        return True

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

    def _decode(self, message: Received) -> Any:
        kind = self._specs[message.topic].type
        try:
            return self._definitions.typestore.deserialize_cdr(message.data, kind)
        except Exception as error:  # rosbags raises many kinds
            raise EpisodeError('damaged', f'{message.topic}: not a {kind}: {error}') from error

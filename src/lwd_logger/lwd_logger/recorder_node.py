# SPDX-License-Identifier: Apache-2.0
"""ROS adapter of the recorder: raw subscriptions in, bags and `recorder/status` out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from lwd_core import topics
from lwd_core.episode.definitions import Definitions
from lwd_core.params import ParamError
from lwd_core.robot import RobotSpec
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_spin import EXPECTED, run
from lwd_core.ros_tick import uses_sim_time
from lwd_core.store import FolderStore, StoreError
from lwd_core.topics import TopicSpec
from lwd_logger.config import check_robot_name, MIB, RecorderParams
from lwd_logger.diagnostics import recorder_status
from lwd_logger.intake import Collector, Intake, Source
from lwd_logger.pump import Pump
from lwd_logger.recorder import Recorder, Status
from lwd_logger.rivals import Rivals
from lwd_logger.ros_listener import Listener, Polled
from lwd_logger.spool import Spool, SpoolError
from lwd_logger.sync import Syncer
from lwd_msgs.msg import RecorderStatus, TopicCount

_WATCH = 2.0  # s; how often publishers' QoS and other recorders are looked for


class RecorderNode(Node):
    """Records one robot.

    Threads: the intake takes messages from the subscriptions, the writer does all else but closing
    bags and syncing, which have their own; the executor serves parameters, the clock and `_watch`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('recorder', **kwargs)
        self.params = declare(self, RecorderParams)
        robot = _robot(self.params)
        name = check_robot_name(
            self.params.robot or self.get_namespace().strip('/') or robot.name)
        sim_time = uses_sim_time(self)
        self._status = publisher(self, topics.RECORDER_STATUS)
        self._diagnostics = publisher(self, topics.DIAGNOSTICS)
        self._rivals = Rivals()
        subscription(self, topics.RECORDER_STATUS, self._on_status)
        specs = recorded_topics(robot, self.params.raw_cameras)
        self._spool = self._make_spool(name)
        self._closer = ThreadPoolExecutor(1, 'bag-closer')
        self._syncer = Syncer(self._failed)
        polled = Polled()
        self._listeners = {name: Listener(self, spec, polled) for name, spec in specs.items()}
        self.recorder = Recorder(
            name, robot, specs, self.params, self._spool, Definitions(),
            self._publish_status, self._say, 'sim' if sim_time else 'wall',
            submit=self._submit, offered=lambda topic: self._listeners[topic].offered(),
            sync=self._syncer)
        self.recorder.recover()
        self._closed = False
        sources = [Source(name, listener.take) for name, listener in self._listeners.items()]
        self._clock_listener = Listener(self, topics.CLOCK, polled) if sim_time else None
        self._pump = Pump(self.recorder.handle, self.recorder.tick, self.recorder.lost,
                          self._failed, self.params.queue_mib * MIB)
        self._intake = Intake(
            Collector(sources, self._clock_listener.take if self._clock_listener else None),
            self._pump.put, self._failed)
        self.create_timer(_WATCH, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy_node(self) -> None:
        """Write what is queued, close the bag that is open, leave the graph."""
        if self._closed:
            return
        self._closed = True
        self._intake.stop()
        self._pump.stop()
        self.recorder.shut_down()
        self._closer.shutdown()
        self._syncer.stop()
        self._spool.close()
        super().destroy_node()

    def _make_spool(self, name: str) -> Spool:
        store = FolderStore(self.params.folder.removeprefix('file://'))
        path = Path(self.params.spool).expanduser() if self.params.spool else (
            store.path / '.spool' / name)
        return Spool(path, store, self._say)

    def _watch(self) -> None:
        """Follow publishers that came or went, and look for another recorder."""
        for listener in self._listeners.values():
            if text := listener.adapt():
                self._say('warning', text)
        other = self._rivals.present(time.monotonic())
        rival = f'two recorders for one robot: the other is on {other}; stop one' if other else ''
        if rival and not self.recorder.rival:
            self._say('error', rival)
        self.recorder.rival = rival

    def _on_status(self, message: RecorderStatus) -> None:
        self._rivals.heard(message.header.frame_id, time.monotonic())

    def _publish_status(self, status: Status) -> None:
        if not self.context.ok():
            return  # shutting down: the bag matters more than the news of it
        message = RecorderStatus(
            state=int(status.state), episode_id=status.episode_id,
            last_episode_id=status.last_episode_id, reason=status.reason,
            messages=status.messages, bytes=status.bytes, lost_total=status.lost_total,
            episodes_written=status.episodes_written, disk_free=status.disk_free,
            topics=[TopicCount(topic=t.topic, messages=t.messages, bytes=t.bytes, lost=t.lost)
                    for t in status.topics])
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = self._rivals.identity
        self._status.publish(message)
        diagnostics = DiagnosticArray(
            status=[recorder_status(self.get_fully_qualified_name(), status)])
        diagnostics.header.stamp = message.header.stamp
        self._diagnostics.publish(diagnostics)

    def _submit(self, job: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                job()
            except Exception as error:  # an executor would keep it to itself
                self._failed(error)
        self._closer.submit(guarded)

    def _failed(self, error: Exception) -> None:
        self._say('error', f'{type(error).__name__}: {error}')

    def _say(self, level: str, text: str) -> None:
        logger = self.get_logger()
        # One call site each: rclpy refuses another severity from the same line.
        if level == 'error':
            logger.error(text)
        elif level == 'warning':
            logger.warning(text)
        else:
            logger.info(text)


def recorded_topics(robot: RobotSpec, raw_cameras: tuple[str, ...] = ()) -> dict[str, TopicSpec]:
    """Return what goes into this robot's bags, by relative name."""
    unknown = sorted(set(raw_cameras) - set(robot.camera_names))
    if unknown:
        raise ParamError(f'parameter raw_cameras: {unknown[0]!r} refused, the robot has '
                         f'{", ".join(robot.camera_names) or "no cameras"}')
    compressed = tuple(name for name in robot.camera_names if name not in raw_cameras)
    specs = (*(topics.camera_raw(name) for name in raw_cameras),
             *topics.robot_topics(compressed, robot.command_interface))
    return {spec.name: spec for spec in specs}


def _robot(params: RecorderParams) -> RobotSpec:
    if not params.robot_file:
        raise ParamError("parameter robot_file: '' refused, must name a robot file")
    return RobotSpec.from_yaml(params.robot_file)


def main(args: list[str] | None = None) -> None:
    """Run the recorder until SIGINT or SIGTERM; exit 2 with one line on a bad parameter or file."""
    run(RecorderNode, args, expected=(*EXPECTED, SpoolError, StoreError))


if __name__ == '__main__':
    main()

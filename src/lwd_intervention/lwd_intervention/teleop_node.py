# SPDX-License-Identifier: Apache-2.0
"""Teleoperation as a ROS 2 node: Joy (and leader arms) in, teleop/command and requests out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import threading
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np
from rclpy.node import Node
from std_msgs.msg import String

from lwd_core import topics
from lwd_core.clock import Tick
from lwd_core.robot import RobotSpec
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_spin import make_executor, run, steady_clock
from lwd_core.ros_tick import make_tick_source, to_ns, to_stamp, uses_sim_time
from lwd_intervention.arbiter import messages as arbiter_messages
from lwd_intervention.episode.state import Phase
from lwd_intervention.modes import Mode
from lwd_intervention.teleop import messages as teleop_messages
from lwd_intervention.teleop.building import build_session, find_mapping
from lwd_intervention.teleop.calls import EpisodeCalls
from lwd_intervention.teleop.cheatsheet import as_text
from lwd_intervention.teleop.effects import (
    AskMode,
    CallEpisode,
    Effect,
    Say,
    SayWhy,
    SendCommand,
    State,
)
from lwd_intervention.teleop.health import HealthConfig
from lwd_intervention.teleop.leader import LeaderConfig
from lwd_intervention.teleop.params import TeleopParams
from lwd_intervention.teleop.session import Session, SessionConfig
from lwd_msgs.msg import EpisodeState, PolicyStatus
from lwd_msgs.srv import RequestMode

STATUS_PERIOD = 0.2   # s


class TeleopNode(Node):
    """Messages to the session, its effects to topics and services; one lock around it."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare, read the files, connect."""
        super().__init__('teleop', **kwargs)
        p = self.params = declare(self, TeleopParams)
        self.robot = RobotSpec.from_yaml(p.robot_file)
        self._lock = threading.RLock()
        self._sim = uses_sim_time(self)
        self._now_ns = 0
        self._device = ''
        self._joint_order: tuple[tuple[str, ...], list[int] | None] = ((), None)
        self._policy_ready = False
        self._status_key: Any = None
        self._mode, self._episode = Mode.HOLD, ('', Phase.IDLE)
        self.session = self._make_session('')
        self._connect()
        self.ticks = make_tick_source(self, self.robot.period_ns, self._on_tick)

    def _make_session(self, device: str) -> Session:
        p = self.params
        mapping = find_mapping(p.mapping, p.mapping_dir, device)
        # A device whose message each tick waits for is on the robot's own clock: it cannot be too
        # old for its tick, and while others drive it may lag behind a simulation in a hurry.
        ages = (3600.0, 3600.0) if p.await_joy else (p.max_age, HealthConfig().max_ahead)
        config = SessionConfig(HealthConfig(*ages, p.frozen_after), p.await_joy)
        return build_session(
            mapping, self.robot, p.arms_file, p.source, config, p.leader_file,
            LeaderConfig(align=p.align, align_speed=p.align_speed, max_age=p.max_age))

    def _connect(self) -> None:
        self._command = publisher(self, topics.TELEOP_COMMAND)
        self._status = publisher(self, topics.TELEOP_STATUS)
        self._reason = publisher(self, topics.TELEOP_REASON)
        self._diagnostics = publisher(self, topics.DIAGNOSTICS)
        subscription(self, topics.JOY, self._on_joy)
        subscription(self, topics.JOINT_STATES, self._on_joints)
        subscription(self, topics.CONTROL_MODE, self._on_mode)
        subscription(self, topics.EPISODE, self._on_episode)
        subscription(self, topics.EXECUTED_ACTION, self._on_executed)
        subscription(self, topics.POLICY_STATUS, self._on_policy)
        if self.params.source == 'leader':
            leader = replace(topics.JOINT_STATES, name='leader/joint_states')
            subscription(self, leader, self._on_leader)
        connect = getattr(self.session.source, 'connect', None)
        if connect is not None:
            connect(self)
        self._request = self.create_client(RequestMode, 'arbiter/request_mode')
        p = self.params
        self._episodes = EpisodeCalls(self, p.operator_name, p.task, p.time_limit)
        self.create_timer(STATUS_PERIOD, self._publish_status, clock=steady_clock())
        self.create_timer(1.0, self._on_diagnostics, clock=steady_clock())

    # -- events ------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """Return ROS time; in a simulation the newest tick."""
        return self._now_ns if self._sim else self.get_clock().now().nanoseconds

    def _on_tick(self, tick: Tick) -> None:
        self._now_ns = tick.stamp_ns
        self._do(lambda: self.session.on_tick(tick.stamp_ns))

    def _on_joy(self, message: Any) -> None:
        sample = teleop_messages.joy_sample(message)
        with self._lock:
            if sample.frame_id != self._device and not self.session.driving:
                self._meet(sample.frame_id)
        self._do(lambda: self.session.on_joy(sample, self.now_ns()))

    def _meet(self, device: str) -> None:
        """Take the mapping of a device that speaks for the first time."""
        self._device = device
        if self.params.mapping == 'auto' and device and self._may_change_mapping():
            session = self._make_session(device)
            session.on_mode(self._mode)
            session.on_episode(*self._episode, self.now_ns())
            session.carry_over(self.session)
            self.session = session
        self.get_logger().info(f'device {device or "without a name"}\n'
                               f'{as_text(self.session.mapping)}')

    def _may_change_mapping(self) -> bool:
        """Tell whether the source is ours to make anew: others hold subscriptions."""
        return self.params.source in ('joystick', 'leader')

    def _on_leader(self, message: Any) -> None:
        with self._lock:
            self.session.source.on_leader(  # type: ignore[attr-defined]
                message.name, message.position, to_ns(message.header.stamp))

    def _on_joints(self, message: Any) -> None:
        names = tuple(message.name)
        if names != self._joint_order[0]:
            missing = [name for name in self.robot.joint_names if name not in names]
            if missing:
                self.get_logger().error(f'joint_states lacks {missing[0]}; message ignored',
                                        throttle_duration_sec=10.0)
            self._joint_order = (names, None if missing else [
                names.index(name) for name in self.robot.joint_names])
        order = self._joint_order[1]
        if order is not None and len(message.position) == len(names):
            with self._lock:
                self.session.on_joints(arbiter_messages.joint_positions(message, order))

    def _on_mode(self, message: Any) -> None:
        self._mode = Mode(message.mode)
        self._do(lambda: self.session.on_mode(Mode(message.mode)))

    def _on_episode(self, message: EpisodeState) -> None:
        self._episode = (message.episode_id, Phase(message.phase))
        self._do(lambda: self.session.on_episode(*self._episode, self.now_ns()))

    def _on_executed(self, message: Any) -> None:
        with self._lock:
            self.session.on_sent(np.array(message.sent))

    def _on_policy(self, message: PolicyStatus) -> None:
        self._policy_ready = message.state in (PolicyStatus.READY, PolicyStatus.ACTING)

    # -- effects -----------------------------------------------------------------------------

    def _do(self, event: Callable[[], list[Effect]]) -> None:
        with self._lock:
            for effect in event():
                self._carry_out(effect)
            key = (self.session.state, self.session.reason, tuple(self.session.held.items()),
                   str(self.session.source.status()))
            if key != self._status_key:
                self._status_key = key
                self._publish_status()

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, SendCommand):
            self._command.publish(teleop_messages.command(effect, self.robot.joint_names))
        elif isinstance(effect, AskMode):
            self._ask(effect)
        elif isinstance(effect, CallEpisode):
            self._episodes.call(
                effect, self.params.start_mode == 'policy' and self._policy_ready)
        elif isinstance(effect, SayWhy):
            self._reason.publish(String(data=effect.words))
        elif effect.warn:
            self.get_logger().warning(effect.text)
        else:
            self.get_logger().info(effect.text)

    def _ask(self, effect: AskMode) -> None:
        if not self._request.service_is_ready():
            # Without commands the arbiter's own watchdog holds the robot, if there is an arbiter.
            self.get_logger().error('arbiter/request_mode is not there: is the arbiter running?')
            answer = self.session.on_answer(effect.mode, False, 'no arbiter')
            for further in answer:
                if isinstance(further, Say):
                    self._carry_out(further)
            return
        future = self._request.call_async(RequestMode.Request(
            mode=int(effect.mode), operator_name=self.params.operator_name,
            source=self.session.source.name, reason=effect.reason))
        session = self.session
        future.add_done_callback(lambda done: self._do(lambda: session.on_answer(
            effect.mode, done.result().accepted, done.result().message)))

    # -- status ------------------------------------------------------------------------------

    def _publish_status(self) -> None:
        with self._lock:
            message = teleop_messages.status(
                self.session, self.now_ns(), self.params.operator_name, self._device)
        self._status.publish(message)

    def _on_diagnostics(self) -> None:
        session = self.session
        level = DiagnosticStatus.WARN if session.state is State.LOST else DiagnosticStatus.OK
        values = {'device': self._device, 'mapping': session.mapping.name,
                  'messages': str(session.health.messages),
                  'input age [s]': f'{session.health.age(self.now_ns()):.3f}'}
        message = DiagnosticArray(status=[DiagnosticStatus(
            level=level, name=f'{self.get_fully_qualified_name()[1:]}: {session.source.name}',
            message=f'{session.state.name} {session.reason}'.strip(),
            values=[KeyValue(key=key, value=value) for key, value in values.items()])])
        message.header.stamp = to_stamp(self.now_ns())
        self._diagnostics.publish(message)

    def destroy_node(self) -> None:
        """Hold first."""
        self._do(self.session.shutdown)
        self.ticks.stop()
        super().destroy_node()


def build_node(**kwargs: Any) -> TeleopNode:
    """Return the node, for composition and tests."""
    return TeleopNode(**kwargs)


def main(args: list[str] | None = None) -> None:
    """Run teleoperation until asked to stop."""
    run(build_node, args, executor=make_executor)


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""The arbiter as a ROS 2 node: the only writer of the robot's command, in its own process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from lwd_core import topics
from lwd_core.clock import Tick
from lwd_core.priority import raise_process
from lwd_core.robot import RobotSpec
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_spin import make_executor, run, steady_clock
from lwd_core.ros_tick import make_tick_source, to_ns, uses_sim_time
from lwd_intervention.arbiter import messages
from lwd_intervention.arbiter.core import Arbiter
from lwd_intervention.arbiter.deadline import Deadline
from lwd_intervention.arbiter.diagnostics import arbiter_status
from lwd_intervention.arbiter.params import ArbiterParams
from lwd_intervention.arbiter.records import ArbiterConfig, Executed, ModeChange, Output, Unclaimed
from lwd_intervention.modes import Mode, STANDING
from lwd_msgs.msg import PolicyStatus, TeleopStatus
from lwd_msgs.srv import RequestMode

WRITERS_PERIOD = 0.25  # s of wall time between two looks for other writers of the command
PREPARING_SPEED = 8.0  # times hold_rate while an episode is prepared: its scene has to settle


class ArbiterNode(Node):
    """Parameters in, callbacks to the core, records out; one lock around the core."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare, read the robot file, connect and start ticking."""
        super().__init__('arbiter', **kwargs)
        self.params = declare(self, ArbiterParams)
        self.robot = RobotSpec.from_yaml(self.params.robot_file)
        self._sim = uses_sim_time(self)
        self._lock = threading.Lock()
        self.core = Arbiter(self.robot, self._config(), self._workspace())
        self.latency = deque[float](maxlen=1000)  # s, command callback to command published
        self._messages = messages.CommandMessages(self.robot)
        self._joint_order: tuple[tuple[str, ...], list[int] | None] = ((), None)
        self._deadline = Deadline(self._on_deadline)
        self._last_log: dict[str, float] = {}
        self._closed = False
        self._answered_at = 0.0  # wall time of the newest command
        self._make_publishers()
        self._make_subscriptions()
        self.create_service(RequestMode, 'arbiter/request_mode', self._on_request_mode)
        self.create_timer(1.0, self._on_diagnostics, clock=steady_clock())
        self.create_timer(WRITERS_PERIOD, self._look_for_writers, clock=steady_clock())
        self._publish_start()
        raised = self.params.raised and not self._sim
        if raised:
            self.get_logger().info(f'priority: {raise_process()}')
        self.ticks = make_tick_source(
            self, self.robot.period_ns, self._on_tick, raised=raised)

    def _config(self) -> ArbiterConfig:
        p = self.params
        return ArbiterConfig(
            p.max_gap_periods, p.first_command_timeout, p.resume_after_starvation,
            p.require_policy, start_at_tick=not self._sim,
            hold_at_once=not (self._sim and p.hold_rate > 0.0),
            # On wall time all ticks are the same clock's: more than one ahead would be a burst.
            max_ahead_periods=2 if self._sim else 1, max_plan_age=p.max_plan_age,
            max_joint_age=self.robot.max_observation_age['joint_states'],
            hold_on_second_writer=p.hold_on_second_writer)

    def _workspace(self) -> Any:
        if self.robot.workspace is None:
            return None
        from lwd_intervention.arbiter.workspace import MujocoWorkspace  # MuJoCo only where needed
        return MujocoWorkspace.for_robot(self.robot, self.params.robot_file)

    def _make_publishers(self) -> None:
        self._command = publisher(self, topics.command(self.robot.command_interface))
        self._executed = publisher(self, topics.EXECUTED_ACTION)
        self._mode = publisher(self, topics.CONTROL_MODE)
        self._intervention = publisher(self, topics.INTERVENTION)
        self._diagnostics = publisher(self, topics.DIAGNOSTICS)

    def _make_subscriptions(self) -> None:
        subscription(self, topics.JOINT_STATES, self._on_joints)
        subscription(self, topics.POLICY_COMMAND, self._on_policy_command)
        subscription(self, topics.TELEOP_COMMAND, self._on_teleop_command)
        subscription(self, topics.POLICY_STATUS, self._on_policy_status)
        subscription(self, topics.EPISODE, self._on_episode)
        subscription(self, topics.TELEOP_STATUS, self._on_teleop_status)
        subscription(self, topics.TELEOP_REASON, self._on_reason)

    def _publish_start(self) -> None:
        """Latch HOLD, so that late joiners know the mode before the first transition."""
        self._mode.publish(messages.control_mode(
            ModeChange(0, Mode.HOLD, Mode.HOLD, 'started', 'arbiter', 0, 0)))

    # -- events ------------------------------------------------------------------------------

    def _on_tick(self, tick: Tick) -> None:
        self._do(lambda: self.core.on_tick(tick))

    def _on_joints(self, message: Any) -> None:
        names = tuple(message.name)
        if names != self._joint_order[0]:
            self._joint_order = (names, self._order(names))
        order = self._joint_order[1]
        if order is not None and len(message.position) == len(names):
            positions = messages.joint_positions(message, order)
            stamp = to_ns(message.header.stamp) or None  # a driver that does not stamp
            self._do(lambda: self.core.on_joints(positions, stamp))

    def _order(self, names: tuple[str, ...]) -> list[int] | None:
        missing = [name for name in self.robot.joint_names if name not in names]
        if missing:
            self._say('joints', f'joint_states lacks {missing[0]}; the robot file has '
                                f'{", ".join(self.robot.joint_names)}; message ignored')
            return None
        return [names.index(name) for name in self.robot.joint_names]

    def _on_policy_command(self, message: Any) -> None:
        self._take(message, self.core.on_policy_command)

    def _on_teleop_command(self, message: Any) -> None:
        self._take(message, self.core.on_human_command)

    def _take(self, message: Any, take: Callable[[Any], list[Output]]) -> None:
        start = time.monotonic()
        request = messages.request(message)
        if self._do(lambda: take(request)):
            self.latency.append(self._answered_at - start)

    def _on_policy_status(self, message: PolicyStatus) -> None:
        ready, reason = messages.readiness(message)
        self._do(lambda: self.core.on_policy_status(ready, reason, message.checkpoint))

    def _on_teleop_status(self, message: TeleopStatus) -> None:
        self._do(lambda: self.core.on_teleop_status(message.source, messages.teleop(message)))

    def _on_reason(self, message: Any) -> None:
        self._do(lambda: self.core.on_words(message.data))

    def _on_episode(self, message: Any) -> None:
        self._do(lambda: self.core.on_episode(messages.episode(message)))

    def _on_request_mode(
        self, request: RequestMode.Request, response: RequestMode.Response,
    ) -> RequestMode.Response:
        try:
            mode = Mode(request.mode)
        except ValueError:
            response.message = f'mode {request.mode} is not a ControlMode constant (0 to 3)'
            return response
        with self._lock:
            response.accepted, response.message, out = self.core.request_mode(
                mode, request.operator_name, request.source, request.reason)
            self._publish(out)
        return response

    def _on_deadline(self) -> None:
        self._do(self.core.answer_open_tick)

    # -- output ------------------------------------------------------------------------------

    def _do(self, event: Callable[[], list[Output]]) -> bool:
        """Give the core an event and publish; tell whether a command went out."""
        with self._lock:
            return not self._closed and self._publish(event())

    def _publish(self, out: list[Output]) -> bool:
        sent = False
        for record in out:
            if isinstance(record, Executed):
                self._command.publish(self._messages.command(record))
                sent, self._answered_at = True, time.monotonic()
                self._executed.publish(self._messages.executed(record))
            elif isinstance(record, ModeChange):
                self._deadline.clear()  # the new mode has its own patience
                self._mode.publish(messages.control_mode(record))
                self.get_logger().info(
                    f'{record.previous.name} to {record.mode.name}: {record.reason} '
                    f'({record.requested_by}, tick {record.tick})')
            elif isinstance(record, Unclaimed):
                self.get_logger().warning(f"teleop/reason: '{record.words}' belongs to no takeover")
            else:
                self._intervention.publish(messages.intervention(record))
        if self._sim:
            self._move_deadline()
        return sent

    def _move_deadline(self) -> None:
        """Simulated time waits for an answer: see that every tick gets one."""
        if self.core.open_tick is None:
            self._deadline.clear()
        elif self.core.mode in STANDING:
            pause = 1.0 / max(self.params.hold_rate, 1e-3)
            if self.core.preparing:
                pause /= PREPARING_SPEED
            self._deadline.set_once(self._answered_at + pause - time.monotonic())
        else:
            self._deadline.set_once(self.params.answer_timeout)

    def _on_diagnostics(self) -> None:
        with self._lock:
            status = arbiter_status(self.get_fully_qualified_name(), self.core,
                                    list(self.latency), self.ticks.ticker.missed)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _look_for_writers(self) -> None:
        topic = self._command.topic_name
        writers = sorted(f'{info.node_namespace.rstrip("/")}/{info.node_name}'
                         for info in self.get_publishers_info_by_topic(topic))
        own = self.get_fully_qualified_name()
        if own in writers:
            writers.remove(own)  # once: a second arbiter has the same name
        if writers:
            self._say('writers', f'{topic} has another writer: {", ".join(writers)}; only the '
                                 'arbiter may command the robot, stop the others')
        self._do(lambda: self.core.on_writers(tuple(writers)))

    def _say(self, key: str, text: str, every: float = 10.0) -> None:
        """Log an error, but not the same one again within `every` seconds."""
        now = time.monotonic()
        if now - self._last_log.get(key, -every) >= every:
            self._last_log[key] = now
            self.get_logger().error(text)

    def close(self) -> None:
        """Hold, end an open takeover, stop the threads; the node publishes nothing afterwards."""
        if self._closed:
            return
        self._do(self.core.shutdown)
        self._closed = True
        self.ticks.stop()
        self._deadline.stop()

    def destroy_node(self) -> None:
        """Close first."""
        self.close()
        super().destroy_node()


def build_node(**kwargs: Any) -> ArbiterNode:
    """Return the node, for composition and tests."""
    return ArbiterNode(**kwargs)


def main(args: list[str] | None = None) -> None:
    """Run the arbiter until asked to stop."""
    run(build_node, args, executor=make_executor)


if __name__ == '__main__':
    main()

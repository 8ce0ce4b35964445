# SPDX-License-Identifier: Apache-2.0
"""The episode state machine as a ROS 2 node: services, the run_episode action, a latched state."""

from __future__ import annotations

from collections.abc import Callable
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from std_srvs.srv import Trigger

from lwd_core import topics
from lwd_core.clock import NS_PER_S, Tick
from lwd_core.robot import RobotSpec
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_spin import make_executor, run, steady_clock
from lwd_core.ros_tick import make_tick_source, to_stamp
from lwd_core.task import load_tasks
from lwd_intervention.arbiter.messages import readiness
from lwd_intervention.episode.diagnostics import episode_status
from lwd_intervention.episode.machine import EpisodeMachine, SETTLE
from lwd_intervention.episode.open_takeover import OpenTakeover
from lwd_intervention.episode.params import EpisodeParams
from lwd_intervention.episode.readiness import EpisodeConfig
from lwd_intervention.episode.requests import Refused, Start
from lwd_intervention.episode.ros_run_episode import RunEpisodeServer
from lwd_intervention.episode.ros_success import SuccessDetector
from lwd_intervention.episode.state import Phase, State
from lwd_intervention.modes import Mode
from lwd_msgs.msg import EpisodeState, Intervention, PolicyStatus, RecorderStatus
from lwd_msgs.srv import DiscardEpisode, LabelEpisode, ResetScene, StartEpisode, StopEpisode

POLL = 0.05  # s; how often wall-clock waits are looked at


class EpisodeNode(Node):
    """Requests in, events in, states out; one lock around the machine."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare, read robot and tasks, connect; publish IDLE at once."""
        super().__init__('episode', **kwargs)
        p = self.params = declare(self, EpisodeParams)
        robot = RobotSpec.from_yaml(p.robot_file)
        self._robot = p.robot or robot.name
        self._lock = threading.RLock()
        self.machine = EpisodeMachine(EpisodeConfig(
            self._robot, p.use_reset_scene, p.require_recorder, p.require_policy,
            p.require_arbiter, p.auto_success, bool(p.success_service), p.reset_timeout,
            p.prepare_timeout, p.label_timeout, p.settle_ticks, p.loss_timeout),
            load_tasks(p.tasks_file))
        self._takeover = OpenTakeover()
        self._period_ns = robot.period_ns
        self._now = 0
        self._resetting = ''  # episode whose reset_scene was called
        self._publisher = publisher(self, topics.EPISODE)
        self._diagnostics = publisher(self, topics.DIAGNOSTICS)
        self._ends = publisher(self, topics.INTERVENTION)
        self._reset_client = self.create_client(ResetScene, 'reset_scene')
        self._make_subscriptions()
        self._make_services()
        self._detector = SuccessDetector(self, p.success_service, p.success_period)
        self.action = RunEpisodeServer(self, self.machine, self._lock, self.start)
        self._publish_state(self.machine.state)
        self.create_timer(POLL, self._on_wall, clock=steady_clock())
        self.create_timer(1.0, self._on_diagnostics, clock=steady_clock())
        self.ticks = make_tick_source(self, robot.period_ns, self._on_tick)

    def _make_subscriptions(self) -> None:
        subscription(self, topics.CONTROL_MODE, self._on_mode)
        subscription(self, topics.RECORDER_STATUS, self._on_recorder)
        subscription(self, topics.POLICY_STATUS, self._on_policy)
        subscription(self, topics.INTERVENTION, self._on_intervention)
        subscription(self, topics.SUCCESS, self._on_success)

    def _make_services(self) -> None:
        self.create_service(StartEpisode, 'episode/start', self._on_start)
        self.create_service(StopEpisode, 'episode/stop', self._on_stop)
        self.create_service(LabelEpisode, 'episode/label', self._on_label)
        self.create_service(DiscardEpisode, 'episode/discard', self._on_discard)
        self.create_service(Trigger, 'episode/success', self._on_success_seen)

    # -- requests ----------------------------------------------------------------------------

    def start(self, request: Any) -> str:
        """Start the episode of a StartEpisode request or RunEpisode goal; return its id."""
        start = Start(request.task, request.instruction, request.start_mode, request.time_limit,
                      request.seed)
        self._do(lambda: self.machine.start(start, time.monotonic(), time.time_ns() // 1_000_000))
        return self.machine.state.id

    def _on_start(self, request: Any, response: Any) -> Any:
        def start() -> None:
            response.episode_id = self.start(request)
        return self._answer(response, start)

    def _on_stop(self, request: Any, response: Any) -> Any:
        return self._answer(response, lambda: self._do(
            lambda: self.machine.stop(request.reason, time.monotonic())))

    def _on_label(self, request: Any, response: Any) -> Any:
        return self._answer(response, lambda: self._do(lambda: self.machine.label(
            request.episode_id, request.outcome.value, list(request.substep_scores),
            request.operator_name, request.detail, time.monotonic())))

    def _on_discard(self, request: Any, response: Any) -> Any:
        return self._answer(response, lambda: self._do(lambda: self.machine.discard(
            request.episode_id, request.operator_name, request.reason, time.monotonic())))

    def _on_success_seen(self, request: Any, response: Any) -> Any:
        response.success, response.message = self._try(lambda: self.success_seen('', ''))
        return response

    def success_seen(self, episode_id: str, message: str) -> None:
        """End the running episode as a success; Refused if it is not that one."""
        self._do(lambda: self.machine.on_success_service(episode_id, message, time.monotonic()))

    def _answer(self, response: Any, act: Callable[[], None]) -> Any:
        response.accepted, response.message = self._try(act)
        return response

    def _try(self, act: Callable[[], None]) -> tuple[bool, str]:
        try:
            act()
        except Refused as error:
            self.machine.refused += 1
            self.get_logger().warning(f'refused: {error}')
            return False, str(error)
        return True, self.machine.state.id

    # -- events ------------------------------------------------------------------------------

    def _on_tick(self, tick: Tick) -> None:
        self._now = tick.stamp_ns
        self._do(lambda: self.machine.on_tick(tick.stamp_ns, time.monotonic()))

    def _on_wall(self) -> None:
        self._do(lambda: self.machine.on_wall(time.monotonic()))
        self._call_reset()  # again, if the service was not there yet
        state = self.machine.state
        if state.phase is Phase.LABELLING and self.machine.phase_age(time.monotonic()) > SETTLE:
            self._end_takeover('arbiter lost')
        self._detector.poll(state.id if state.phase is Phase.RUNNING else '')

    def _on_mode(self, message: Any) -> None:
        if message.epoch == 0:  # a new arbiter: the one before ended nothing any more
            self._end_takeover('arbiter restarted')
        self._do(lambda: self.machine.on_mode(
            Mode(message.mode), message.reason, time.monotonic()))

    def _on_recorder(self, message: RecorderStatus) -> None:
        recording = message.episode_id if message.state == RecorderStatus.RECORDING else ''
        fault = '' if message.state == RecorderStatus.RECORDING else message.reason
        self._do(lambda: self.machine.on_recorder(recording, fault, time.monotonic()))

    def _on_policy(self, message: PolicyStatus) -> None:
        ready, reason = readiness(message)
        self._do(lambda: self.machine.on_policy(ready, reason, time.monotonic()))

    def _on_success(self, message: Any) -> None:
        self._do(lambda: self.machine.on_success(message.data, time.monotonic()))

    def _on_intervention(self, message: Intervention) -> None:
        with self._lock:
            self._takeover.take(message)
            if message.event == Intervention.STARTED:
                self.machine.on_takeover(message.episode_id)

    def _end_takeover(self, reason: str) -> None:
        """Say in the arbiter's place that a takeover is over: every start has an end."""
        with self._lock:
            started = self.machine.state.started_ns
            tick = max(0, self._now - started) // self._period_ns if started else 0
            end = self._takeover.lost(reason, self._now, tick)
        if end is not None:
            self.get_logger().error(f"takeover {end.id} ended in the arbiter's place: {reason}")
            self._ends.publish(end)

    def _call_reset(self) -> None:
        with self._lock:
            state = self.machine.state
            if state.phase is not Phase.RESETTING or self._resetting == state.id:
                return
            if not self._reset_client.service_is_ready():
                return
            self._resetting = state.id
        future = self._reset_client.call_async(ResetScene.Request(task=state.task, seed=state.seed))
        future.add_done_callback(lambda done: self._on_reset_done(state.id, done))

    def _on_reset_done(self, episode_id: str, future: Any) -> None:
        error = future.exception()
        ok, message = (False, str(error)) if error else (
            future.result().ok, future.result().message)
        self._do(lambda: self.machine.on_reset_done(episode_id, ok, message, time.monotonic()))

    # -- output ------------------------------------------------------------------------------

    def _do(self, event: Callable[[], list[State]]) -> None:
        with self._lock:
            for state in event():
                self._publish_state(state)
                self.get_logger().info(
                    f'{state.id}: {state.phase.name} {state.outcome.name} {state.detail}'.rstrip())
                self.action.on_state(state)
                if state.phase is Phase.RESETTING:
                    self._call_reset()

    def _publish_state(self, state: State) -> None:
        message = EpisodeState(
            episode_id=state.id, robot=self._robot, task=state.task,
            instruction=state.instruction, phase=int(state.phase), start_mode=state.start_mode,
            stop_reason=int(state.stop), detail=state.detail,
            substep_scores=list(state.substep_scores), started=to_stamp(state.started_ns),
            ended=to_stamp(state.ended_ns), time_limit=state.time_limit, seed=state.seed,
            labelled_by=state.labelled_by)
        message.outcome.value = int(state.outcome)
        message.header.stamp = to_stamp(self._now)
        self._publisher.publish(message)

    def _on_diagnostics(self) -> None:
        present = self.count_publishers('control_mode') > 0
        if not present:
            self._end_takeover('arbiter lost')
        with self._lock:
            self.machine.on_arbiter(present)
            status = episode_status(
                self.get_fully_qualified_name(), self.machine, self.elapsed())
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def elapsed(self) -> float:
        """Return the seconds of RUNNING so far, of the last episode when IDLE."""
        state = self.machine.state
        if not state.started_ns:
            return 0.0
        return ((state.ended_ns or self._now) - state.started_ns) / NS_PER_S

    def destroy_node(self) -> None:
        """Stop ticking first."""
        self.ticks.stop()
        self.action.destroy()
        super().destroy_node()


def build_node(**kwargs: Any) -> EpisodeNode:
    """Return the node, for composition and tests."""
    return EpisodeNode(**kwargs)


def main(args: list[str] | None = None) -> None:
    """Run the episode machine until asked to stop."""
    run(build_node, args, executor=make_executor)


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""The episode state machine as a ROS 2 node: services, the run_episode action, a latched state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from lwd_core import topics
from lwd_core.clock import NS_PER_S, Tick
from lwd_core.params import param, ParamError
from lwd_core.robot import RobotSpec
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_tick import make_tick_source, to_stamp
from lwd_core.task import load_tasks
from lwd_intervention.episode import EpisodeConfig, EpisodeMachine, Refused, Start
from lwd_intervention.episode_state import Phase, State
from lwd_intervention.modes import Mode
from lwd_intervention.run_episode import RunEpisodeServer
from lwd_intervention.spin_node import run, steady_clock
from lwd_msgs.msg import EpisodeState, Intervention, PolicyStatus, RecorderStatus
from lwd_msgs.srv import DiscardEpisode, LabelEpisode, ResetScene, StartEpisode, StopEpisode

POLL = 0.05  # s; how often wall-clock waits are looked at


@dataclass(frozen=True)
class EpisodeParams:
    """Parameters of the episode node."""

    robot_file: str = param('', 'robot YAML: control rate')
    robot: str = param('', "robot name in episode ids; '' takes the one of the robot file")
    tasks_file: str = param('', 'task YAML: names, instructions, time limits')
    use_reset_scene: bool = param(False, 'call reset_scene before each episode')
    require_recorder: bool = param(True, 'run only while the recorder records the episode')
    require_policy: bool = param(True, 'start with POLICY only if policy/status says READY')
    require_arbiter: bool = param(True, 'run only if an arbiter told its control_mode')
    auto_success: bool = param(
        False, "take the outcome from the topic 'success': its rise, or FAILURE at the time limit")
    reset_timeout: float = param(
        30.0, 'wait for reset_scene, wall time', unit='s', lower=0.1, upper=3600.0)
    prepare_timeout: float = param(
        30.0, 'wait for recorder, policy and arbiter, wall time', unit='s', lower=0.1, upper=3600.0)
    label_timeout: float = param(
        30.0, 'wait for a label before the episode stays UNLABELLED, wall time', unit='s',
        lower=0.0, upper=3600.0)
    settle_ticks: int = param(
        4, 'control ticks between reset_scene and the first tick of an episode: the sensors must '
        'show the new scene; above the ticks a simulation needs to settle', lower=0, upper=1000)
    loss_timeout: float = param(
        15.0, 'without a clock or an arbiter before a running episode stops, wall time', unit='s',
        lower=0.1, upper=3600.0)

    def __post_init__(self) -> None:
        """Refuse to start without the two files."""
        for name in ('robot_file', 'tasks_file'):
            if not getattr(self, name):
                raise ParamError(f"parameter {name}: '' refused, name a YAML file "
                                 f"(e.g. config/{name.split('_')[0].rstrip('s')}s/sim.yaml)")


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
            p.require_arbiter, p.auto_success, p.reset_timeout, p.prepare_timeout,
            p.label_timeout, p.settle_ticks, p.loss_timeout), load_tasks(p.tasks_file))
        self._now = 0
        self._resetting = ''  # episode whose reset_scene was called
        self._publisher = publisher(self, topics.EPISODE)
        self._diagnostics = publisher(self, topics.DIAGNOSTICS)
        self._reset_client = self.create_client(ResetScene, 'reset_scene')
        self._make_subscriptions()
        self._make_services()
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

    def _answer(self, response: Any, act: Callable[[], None]) -> Any:
        try:
            act()
            response.accepted, response.message = True, self.machine.state.id
        except Refused as error:
            response.accepted, response.message = False, str(error)
            self.get_logger().warning(f'refused: {error}')
        return response

    # -- events ------------------------------------------------------------------------------

    def _on_tick(self, tick: Tick) -> None:
        self._now = tick.stamp_ns
        self._do(lambda: self.machine.on_tick(tick.stamp_ns, time.monotonic()))

    def _on_wall(self) -> None:
        self._do(lambda: self.machine.on_wall(time.monotonic()))
        self._call_reset()  # again, if the service was not there yet

    def _on_mode(self, message: Any) -> None:
        self._do(lambda: self.machine.on_mode(
            Mode(message.mode), message.reason, time.monotonic()))

    def _on_recorder(self, message: RecorderStatus) -> None:
        recording = message.episode_id if message.state == RecorderStatus.RECORDING else ''
        fault = '' if message.state == RecorderStatus.RECORDING else message.reason
        self._do(lambda: self.machine.on_recorder(recording, fault, time.monotonic()))

    def _on_policy(self, message: PolicyStatus) -> None:
        ready = message.state in (PolicyStatus.READY, PolicyStatus.ACTING)
        self._do(lambda: self.machine.on_policy(ready, message.reason, time.monotonic()))

    def _on_success(self, message: Any) -> None:
        self._do(lambda: self.machine.on_success(message.data, time.monotonic()))

    def _on_intervention(self, message: Intervention) -> None:
        if message.event == Intervention.STARTED:
            with self._lock:
                self.machine.on_takeover(message.episode_id)

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
        with self._lock:
            self.machine.on_arbiter(self.count_publishers('control_mode') > 0)
        state = self.machine.state
        values = {'phase': state.phase.name, 'episode': state.id, 'outcome': state.outcome.name,
                  'elapsed [s]': f'{self.elapsed():.1f}', 'takeovers': self.machine.takeovers}
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK, name=f'{self.get_fully_qualified_name()[1:]}: episode',
            message=f'{state.phase.name} {state.detail}'.strip(),
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()])
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
    run(build_node, args)


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""The policy node: sensors and ticks in, commands and chunks out; a lifecycle node.

configure   reads robot and tasks, starts the worker, subscribes; loads the channel's checkpoint
activate    opens the gate: ticks in POLICY are answered
deactivate  asks the arbiter for HOLD, then closes the gate

Threads: the executor (samples, modes, everything slow), the tick (on wall time its own thread, with
the best priority that is permitted) and the worker's reader (chunks). `_lock` guards loop and
assembler; everything about checkpoints runs on the executor, which takes replies at the next
housekeeping.
"""

from __future__ import annotations

import threading
from typing import Any

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from lwd_core import topics
from lwd_core.chunks.config import make_scheduler
from lwd_core.clock import Tick
from lwd_core.priority import freeze_garbage
from lwd_core.robot import RobotSpec
from lwd_core.ros_params import declare
from lwd_core.ros_tick import make_tick_source, to_ns, uses_sim_time
from lwd_core.task import load_tasks
from lwd_msgs.msg import ControlMode, EpisodeState, ExecutedAction
from lwd_msgs.srv import LoadCheckpoint, RequestMode
from lwd_policy_node.checkpoints import Installed
from lwd_policy_node.follower_node import CheckpointFollower
from lwd_policy_node.inference import make_inference
from lwd_policy_node.lifecycle_node import logged, ManagedNode
from lwd_policy_node.loading import LoadRequest
from lwd_policy_node.loop import ControlLoop
from lwd_policy_node.outputs_node import PolicyOutputs
from lwd_policy_node.params import PolicyParams
from lwd_policy_node.reports_node import Reports
from lwd_policy_node.senses_node import Senses
from lwd_policy_node.sensors_node import require_sync
from lwd_policy_node.spin_node import run
from lwd_policy_node.supervisor import Supervisor
from lwd_policy_node.wire import Frame

HOUSEKEEPING_S = 0.02  # wall time; stalls, restarts, deferred ticks
STATUS_PERIOD_S = 1.0
IN_EPISODE = (EpisodeState.READY, EpisodeState.RUNNING)


class PolicyNode(ManagedNode):
    """See the module's docstring."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('policy', **kwargs)
        self.params = declare(self, PolicyParams)
        self._lock = threading.RLock()
        self._phase = EpisodeState.IDLE
        self._mode: tuple[int, int] | None = None
        self._starving = ''

    # -- lifecycle

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the files, start the worker, subscribe."""
        params = self.params
        require_sync(params.sync)
        self.robot = RobotSpec.from_yaml(params.robot_file)
        self.tasks = load_tasks(params.tasks_file) if params.tasks_file else {}
        self.outputs = PolicyOutputs(self, self.robot)
        self.loop = self._make_loop()
        self.inference = make_inference(
            params.inference, self._on_reply, params.policy_loader, params.inference_niceness)
        self.outputs.inference = self.inference
        self.supervisor = Supervisor(
            self.inference, self._load_template(), params.stall_timeout)
        self.follower = CheckpointFollower(
            self, self.supervisor, self._act_with, lambda: self._phase in IN_EPISODE,
            swap_in_episode=params.swap == 'chunk')
        self.reports = Reports(self.outputs, self.loop, self.supervisor, self._lock)
        self.senses = Senses(self, self.robot, params, self.loop, self.outputs, self._lock)
        self.closers.append(self.inference.close)
        self._connect()
        self.supervisor.start()
        self.closers.append(self.follower.start(params, self.later))
        return super().on_configure(state)

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the gate."""
        with self._lock:
            self.loop.situation.gate_open = True
        self.reports.status()
        return super().on_activate(state)

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ask for HOLD, then close the gate; the arbiter holds by itself if nobody answers."""
        with self._lock:
            drives = self.loop.situation.policy_drives
        if drives and self._request_mode.service_is_ready():
            self._request_mode.call_async(RequestMode.Request(
                mode=ControlMode.HOLD, operator_name=self.get_name(),
                reason='policy node deactivated'))
        with self._lock:
            self.loop.situation.gate_open = False
        self.reports.status()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back."""
        self.close()
        return super().on_cleanup(state)

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back and report."""
        self.close()
        return super().on_shutdown(state)

    def close(self) -> None:
        """Stop the worker and all that ticks, and report; may be called twice."""
        if self.closers:
            with self._lock:
                self.loop.end_episode()
                # A chunk that arrives from now on finds nothing that waits for it.
                self.loop.situation.gate_open = False
                self.loop.worker_lost('closed')
                self.reports.whole_run()
            self.senses.close()
        super().close()

    # -- construction

    def _make_loop(self) -> ControlLoop:
        params, sim = self.params, uses_sim_time(self)
        overrun = params.overrun == 'on' or (params.overrun == 'auto' and not sim)
        return ControlLoop(
            self.robot.period_ns, make_scheduler(params.chunking(overrun)), self.outputs,
            join_wait=params.join_wait if sim else 0.0, shadow=params.shadow, decode=False,
            now_ns=lambda: self.get_clock().now().nanoseconds)

    def _load_template(self) -> LoadRequest:
        params, chunking = self.params, self.params.chunking()
        return LoadRequest(params.store, self.robot, flow_steps=params.flow_steps,
                           min_horizon=chunking.min_horizon, observation=params.observation,
                           continuation=chunking.continuation, backend=params.backend,
                           threads=params.inference_threads)

    def _connect(self) -> None:
        self.subscribe(topics.CONTROL_MODE, self._on_mode)
        self.subscribe(topics.EPISODE, self._on_episode)
        self.subscribe(topics.EXECUTED_ACTION, self._on_executed)
        if not self.params.pinned:
            self.subscribe(topics.CHECKPOINT, self.follower.on_announcement)
        self.serve(LoadCheckpoint, 'policy/load_checkpoint', self.follower.on_load_request)
        self.serve(Trigger, 'policy/rollback', self.follower.on_rollback_request)
        self._request_mode = self.client_of(RequestMode, 'arbiter/request_mode')
        self.every(HOUSEKEEPING_S, self._housekeeping)
        self.every(STATUS_PERIOD_S, self.reports.periodic)

    def start_ticking(self) -> None:
        """Start the tick source; after the first checkpoint said what is observed."""
        raised = self.params.priority == 'raised' and not uses_sim_time(self)
        if raised:
            freeze_garbage()
        source = make_tick_source(self, self.robot.period_ns, self._on_tick, raised=raised)
        self.closers.append(source.stop)

    # -- ticks, modes, episodes

    def _on_tick(self, tick: Tick) -> None:
        with self._lock:
            if tick.reset:
                self.get_logger().warning('clock jumped: samples and chunks are forgotten')
                self.loop.clock_jumped()
            self.loop.on_tick(tick.stamp_ns, tick.missed)

    def _on_mode(self, message: ControlMode) -> None:
        if self._mode == (message.mode, message.epoch):
            return  # a latched message again
        self._mode = (message.mode, message.epoch)
        with self._lock:
            self.loop.set_mode(message.mode == ControlMode.POLICY,
                               message.mode == ControlMode.HUMAN, message.epoch,
                               to_ns(message.header.stamp))
        self.reports.status()

    def _on_episode(self, message: EpisodeState) -> None:
        before, self._phase = self._phase, message.phase
        with self._lock:
            situation = self.loop.situation
            ended, situation.episode_id = situation.episode_id, message.episode_id
            situation.instruction = message.instruction if message.phase in IN_EPISODE else ''
            if message.phase == EpisodeState.READY != before:
                self.loop.scene_was_reset()
        if before == EpisodeState.RUNNING != message.phase:
            self.reports.episode(ended)
        if self.tasks and message.task and message.task not in self.tasks:
            self.get_logger().warning(
                f'unknown task {message.task!r}, tasks are {", ".join(sorted(self.tasks))}',
                once=True)
        if self.follower.swap_if_idle():
            self.reports.status()

    def _on_executed(self, message: ExecutedAction) -> None:
        if message.clamped and message.source == ExecutedAction.SOURCE_POLICY:
            with self._lock:
                self.loop.cadence.clamped += 1

    # -- the worker's replies

    def _on_reply(self, frame: Frame) -> None:
        """Take a reply in the worker's reader thread: chunks at once, the rest on the executor."""
        fields = frame.fields
        if frame.kind == 'chunk':
            with self._lock:
                self.loop.on_chunk(fields['id'], frame.arrays['actions'], fields['inference_s'],
                                   fields['sections'])
            self.supervisor.on_success()
        elif frame.kind == 'failed':
            with self._lock:
                self.loop.on_failed(fields['id'], fields['reason'])
            self.get_logger().error(f'inference failed: {fields["reason"]}',
                                    throttle_duration_sec=STATUS_PERIOD_S)
        else:
            self.later(lambda: self._on_worker(frame))

    def _on_worker(self, frame: Frame) -> None:
        if frame.kind == 'died':
            with self._lock:
                self.loop.worker_lost(frame.fields['reason'])
        self.follower.on_reply(frame)
        self._set_digest()
        self.reports.status()

    def _act_with(self, active: Installed) -> None:
        """Observe what the checkpoint that acts from now on wants to see."""
        if self.senses.show(active):
            # After the sensors: rclpy calls what is ready in the order of creation, and a tick's
            # samples are to be seen before the tick.
            self.start_ticking()
        self._set_digest()

    def _set_digest(self) -> None:
        active = self.supervisor.checkpoints.active
        usable = active is not None and self.supervisor.usable
        with self._lock:
            self.loop.situation.digest = active.digest if active and usable else ''

    # -- time

    def _housekeeping(self) -> None:
        self.do_work()
        with self._lock:
            self.loop.on_wait()
            waiting, starving = self.loop.waiting_for(), self.loop.starving
        was_up = self.supervisor.up
        self.supervisor.poll(waiting)
        if was_up and not self.supervisor.up:
            self.get_logger().error(self.supervisor.reason)
            self._set_digest()
            self.reports.status()
        elif bool(starving) != bool(self._starving):
            self.reports.status()  # why the robot holds, and that it goes on
        self._starving = starving


def main(args: list[str] | None = None) -> None:
    """Run the policy node."""
    run(PolicyNode, args)


if __name__ == '__main__':
    main()

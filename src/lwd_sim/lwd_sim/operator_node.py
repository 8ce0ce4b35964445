# SPDX-License-Identifier: Apache-2.0
"""The scripted operator as a ROS 2 node: runs episodes, drives through teleoperation, labels.

`demonstrate`: drives every episode from its first tick. `supervise`: lets the policy drive, takes
over when it is failing, corrects, hands back. He uses what a person's tools use: the run_episode
action, arbiter/request_mode, teleop/command, episode/label; what he sees is sim/state.
"""
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.action import ActionClient
from rclpy.node import Node
from sensor_msgs.msg import Joy
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lwd_core import topics
from lwd_core.robot import RobotSpec
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_spin import run, steady_clock
from lwd_core.ros_tick import to_ns, to_stamp
from lwd_core.task import load_tasks, require_task
from lwd_msgs.action import RunEpisode
from lwd_msgs.msg import ControlMode, EpisodeState, Outcome, TeleopStatus
from lwd_msgs.srv import LabelEpisode, RequestMode
from lwd_sim.operating import Intent, View
from lwd_sim.operator_params import OperatorParams
from lwd_sim.robots import make_operator
from lwd_sim.schedule import Schedule
from lwd_sim.sticks import StickOperator
from lwd_sim.supervisor import SupervisorConfig

POLL = 0.1  # s, how soon the next episode is asked for
SOURCE = 'scripted'
UNDER_WAY = (EpisodeState.READY, EpisodeState.RUNNING)


class OperatorNode(Node):
    """Episodes one after the other; every tick of his answered from the callback of sim/state."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare, check the tasks, connect."""
        super().__init__('operator', **kwargs)
        p = self.params = declare(self, OperatorParams)
        robot = RobotSpec.from_yaml(p.robot_file)
        self._period = robot.period_ns
        known = load_tasks(p.tasks_file)
        for task in p.tasks:
            require_task(known, task, 'parameter tasks')
        self.schedule = Schedule(p.tasks, p.seed, p.episodes)
        self._operator = make_operator(robot, p.mode == 'supervise', p.noise, SupervisorConfig(
            patience=p.patience, max_takeovers=p.max_takeovers, hand_back=p.hand_back))
        self._episode = EpisodeState()
        self._begun = ''                   # episode the operator works on
        self._labelled = ''                # episode he has labelled
        self._mode = ControlMode.HOLD
        self._asked: int | None = None     # mode he asked for and has not got yet
        self._busy = False                 # a goal is under way
        self._joystick_sound = False       # teleoperation hears it
        self._in_force = False             # his joystick moves the robot
        self._stamp = 0                    # of the newest sim/state
        self._view: View | None = None
        self._sticks = StickOperator() if p.teleop == 'joystick' else None
        self._connect()

    def _connect(self) -> None:
        self._teleop = publisher(self, topics.TELEOP_COMMAND)
        if self._sticks is not None:
            self._joy = publisher(self, topics.JOY)
            self._reason = publisher(self, topics.TELEOP_REASON)
            subscription(self, topics.TELEOP_STATUS, self._on_teleop_status)
        subscription(self, topics.EPISODE, self._on_episode)
        subscription(self, topics.CONTROL_MODE, self._on_mode)
        subscription(self, topics.SIM_STATE, self._on_state)
        self._request = self.create_client(RequestMode, 'arbiter/request_mode')
        self._label = self.create_client(LabelEpisode, 'episode/label')
        self._run = ActionClient(self, RunEpisode, topics.RUN_EPISODE)
        self.create_timer(POLL, self._on_poll, clock=steady_clock())

    @property
    def _at_joystick(self) -> bool:
        """Tell whether he drives this episode's task with the joystick."""
        tasks = self.params.joystick_tasks
        return self._sticks is not None and (not tasks or self._episode.task in tasks)

    @property
    def done(self) -> bool:
        """Tell whether every episode is over."""
        return self.schedule.done and not self._busy

    # -- episodes ----------------------------------------------------------------------------

    def _on_poll(self) -> None:
        self._grip_at_the_start()   # again, where the first grip crossed the episode's boundary
        if self._busy or self.schedule.done or not self._run.server_is_ready():
            return
        if not (self._request.service_is_ready() and self._label.service_is_ready()):
            return
        if self._sticks is not None and not self._joystick_sound:
            return
        task, seed = self.schedule.next()
        mode = (EpisodeState.MODE_HUMAN if self.params.mode == 'demonstrate'
                else EpisodeState.MODE_POLICY)
        self._busy = True
        goal = RunEpisode.Goal(task=task, start_mode=mode, seed=seed)
        self._then(self._run.send_goal_async(goal), self._on_goal_answer)

    def _then(self, future: Any, callback: Callable[[Any], None]) -> None:
        future.add_done_callback(lambda done: callback(done.result()))

    def _on_goal_answer(self, handle: Any) -> None:
        if not handle.accepted:
            self._busy = False
            return
        self._then(handle.get_result_async(), lambda answer: self._on_result(answer.result))

    def _on_result(self, result: Any) -> None:
        self._busy = False
        ran = result.outcome.value in (Outcome.SUCCESS, Outcome.FAILURE)
        if ran:
            self.schedule.finish()
        word = {Outcome.SUCCESS: 'success', Outcome.FAILURE: 'failure'}.get(
            result.outcome.value, 'not run')
        self.get_logger().info(
            f'{result.episode_id or "episode"}: {word} after {result.duration:.1f} s, '
            f'{result.takeovers} takeovers; {self.schedule.finished} done. {result.message}')

    def _on_episode(self, message: EpisodeState) -> None:
        self._episode = message
        if message.phase in UNDER_WAY and self._begun != message.episode_id:
            self._begun, self._asked = message.episode_id, None
            self._operator.begin(message.task, message.seed,
                                 round(message.time_limit * 1e9 / self._period))
            if self._sticks is not None:
                self._sticks.begin()
        self._grip_at_the_start()
        if message.phase == EpisodeState.LABELLING and \
                message.outcome.value == Outcome.UNLABELLED:
            success = self._view is not None and self._view.success
            self._give_label(success, 'at the end of the time')

    def _give_label(self, success: bool, detail: str) -> None:
        if self._labelled == self._episode.episode_id:
            return
        self._labelled = self._episode.episode_id
        outcome = Outcome(value=Outcome.SUCCESS if success else Outcome.FAILURE)
        self._label.call_async(LabelEpisode.Request(
            episode_id=self._episode.episode_id, outcome=outcome,
            substep_scores=list(self._operator.scores()),
            operator_name=self.params.operator_name, detail=detail))

    # -- ticks -------------------------------------------------------------------------------

    def _on_mode(self, message: ControlMode) -> None:
        self._mode = message.mode
        if self._mode == self._asked:
            self._asked = None
        unnamed = message.mode == ControlMode.HUMAN and message.requested_by == 'episode'
        if unnamed and self._sticks is not None and not self._at_joystick:
            # A demonstration without the joystick, whose deadman hangs released: the arbiter lets
            # him move only once he is known to drive by other means.
            self._ask(ControlMode.HOLD, 'another way of driving')
        self._grip_at_the_start()

    def _on_teleop_status(self, message: TeleopStatus) -> None:
        self._joystick_sound = message.state != TeleopStatus.LOST
        self._in_force = message.state in (TeleopStatus.DRIVING, TeleopStatus.ALIGNING)

    def _on_state(self, message: Any) -> None:
        self._view = view = View(message.task, message.seed, message.step, np.array(message.qpos),
                                 np.array(message.qvel), np.array(message.ctrl), message.success)
        episode = self._episode
        stamp = self._stamp = to_ns(message.header.stamp)
        if episode.phase not in UNDER_WAY or view.task != episode.task:
            if self._sticks is not None:
                self._send_joy(*self._sticks.rest())
            return
        if episode.phase == EpisodeState.READY:
            self._before_the_start(view, stamp)
            return
        tick = max(0, (stamp - to_ns(episode.started)) // self._period)
        self._carry_out(self._operator.see(view, tick), stamp)

    def _before_the_start(self, view: View, stamp: int) -> None:
        """Offer the action of each tick, so that the first one of the episode is answered too."""
        if self._at_joystick:
            self._send_joy(*self._sticks.rest())
        elif self._operator.driving:
            self._send(self._operator.act(view), stamp)

    def _grip_at_the_start(self) -> None:
        """Grip as soon as a demonstration runs: its first tick stands open already."""
        view, running = self._view, self._episode.phase == EpisodeState.RUNNING
        if not self._at_joystick or self._in_force or not running or \
                self._mode != ControlMode.HUMAN or self.params.mode != 'demonstrate':
            return
        if view is not None and view.task == self._episode.task:
            self._send_joy(*self._sticks.rest())     # seen released since the episode began
            self._use_sticks(Intent(self._operator.act(view)))

    def _carry_out(self, intent: Intent, stamp: int) -> None:
        if self._at_joystick:
            self._use_sticks(intent)
            return
        # The action first: the arbiter takes the newest one for the tick a takeover finds open.
        if intent.action is not None:
            self._send(intent.action, stamp)
        if intent.take_over:
            self._ask(ControlMode.HUMAN, intent.take_over)
        elif intent.hand_back:
            self._ask(ControlMode.POLICY, intent.hand_back)
        elif self._operator.driving and self._mode == ControlMode.HOLD and self._asked is None:
            self._ask(ControlMode.HUMAN, 'the robot stands still')
        if intent.finished:
            self._give_label(True, '')
        elif intent.hopeless:
            self._give_label(False, 'beyond repair')

    def _send(self, action: np.ndarray, stamp: int) -> None:
        message = JointTrajectory(joint_names=list(self._operator.names), points=[
            JointTrajectoryPoint(positions=action.tolist())])
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        self._teleop.publish(message)

    def _use_sticks(self, intent: Intent) -> None:
        assert self._sticks is not None
        if intent.take_over:
            self._reason.publish(String(data=intent.take_over))
        self._send_joy(*self._sticks.act(
            self._operator.world, intent, self._operator.driving, self._in_force,
            self._mode == ControlMode.POLICY))

    def _send_joy(self, axes: np.ndarray, buttons: list[int]) -> None:
        message = Joy(axes=axes.tolist(), buttons=buttons)
        message.header.frame_id = SOURCE
        message.header.stamp = to_stamp(self._stamp)
        self._joy.publish(message)

    def _ask(self, mode: int, reason: str) -> None:
        self._asked = mode
        future = self._request.call_async(RequestMode.Request(
            mode=mode, operator_name=self.params.operator_name, source=SOURCE, reason=reason))
        self._then(future, self._on_mode_answer)

    def _on_mode_answer(self, answer: Any) -> None:
        if not answer.accepted:
            self._asked = None
            self.get_logger().warning(f'request refused: {answer.message}')


def build_node(**kwargs: Any) -> OperatorNode:
    """Return the node, for composition and tests."""
    return OperatorNode(**kwargs)


def main(args: list[str] | None = None) -> None:
    """Run the operator until asked to stop; exit 2 with one line on a bad parameter."""
    run(build_node, args, done=lambda node: node.params.exit_when_done and node.done)


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""The simulated robot and its operator over DDS, with the real arbiter and episode nodes."""
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
import os
from pathlib import Path
import threading
import time

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lwd_core import topics
from lwd_core.images import decode_jpeg
from lwd_core.params import ParamError
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_tick import to_ns
from lwd_core.topics import CommandTag
from lwd_msgs.msg import ControlMode, EpisodeState, ExecutedAction, Outcome, PolicyStatus
from lwd_msgs.srv import ResetScene
from lwd_sim.features import STATE_NAMES
from lwd_sim.names import HOME, JOINT_NAMES

arbiter_node = pytest.importorskip('lwd_intervention.arbiter_node')
episode_node = pytest.importorskip('lwd_intervention.episode_node')
from lwd_sim.operator_node import OperatorNode  # noqa: E402
from lwd_sim.sim_robot_node import SimRobotNode  # noqa: E402

CONFIG = Path(__file__).parents[3] / 'config'
ROBOT_FILE = str(CONFIG / 'robots' / 'sim.yaml')
TASKS_FILE = str(CONFIG / 'tasks' / 'sim.yaml')
NAMESPACE = f'simtest{os.getpid()}'  # two runs on one machine must not hear each other
ARGUMENTS = ['--ros-args', '-r', f'__ns:=/{NAMESPACE}', '-r', f'/clock:=/{NAMESPACE}/clock']
PERIOD = 40_000_000  # ns
HEARD = 1000  # messages: a listener that a busy machine keeps waiting misses none of them


@contextmanager
def ros(monkeypatch, domain):
    """Yield `spin(make, **params) -> node`, every node in a thread of its own."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    stop, running = threading.Event(), []

    def spin(make, **params):
        node = make(context=context, cli_args=ARGUMENTS, parameter_overrides=[
            Parameter(name, value=value) for name, value in params.items()])
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)

        def loop():
            while not stop.is_set():
                if isinstance(node, SimRobotNode):
                    node.run_tick(executor)
                else:
                    executor.spin_once(timeout_sec=0.1)
            executor.shutdown()
            node.destroy_node()   # in its own thread, to which its graphics context belongs
        thread = threading.Thread(target=loop, daemon=True)
        running.append(thread)
        thread.start()
        return node
    try:
        yield spin
    finally:
        stop.set()
        for thread in running:
            thread.join(10.0)
        rclpy.shutdown(context=context)


def wait_for(condition, seconds=30.0, what=''):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f'waited {seconds} s for {what}'
        time.sleep(0.01)


class Listener(Node):
    """Keeps what the robot says; drives it home when it is told to answer."""

    def __init__(self, **kwargs):
        super().__init__('listener', **kwargs)
        self.joints, self.states, self.clocks, self.images = [], [], [], []
        self.worlds, self.success, self.answering = [], [], True
        subscription(self, topics.JOINT_STATES, self.joints.append)
        subscription(self, topics.STATE_OBSERVATION, self.states.append)
        subscription(self, topics.SIM_STATE, self.worlds.append)
        subscription(self, topics.SUCCESS, self.success.append)
        subscription(self, topics.camera('head'), self.images.append)
        self._command = publisher(self, topics.COMMAND)
        self.create_subscription(Clock, 'clock', self._on_clock, 10)
        self.reset = self.create_client(ResetScene, 'reset_scene')

    def _on_clock(self, message):
        self.clocks.append(to_ns(message.clock))
        if self.answering:
            command = JointTrajectory(joint_names=list(JOINT_NAMES), points=[
                JointTrajectoryPoint(positions=HOME.tolist())])
            command.header.stamp = message.clock
            self._command.publish(command)


class LazyPolicy(Node):
    """A policy that answers every tick of POLICY by standing at home."""

    def __init__(self, **kwargs):
        super().__init__('policy', **kwargs)
        self.mode = ControlMode()
        self._command = publisher(self, topics.POLICY_COMMAND)
        self._status = publisher(self, topics.POLICY_STATUS)
        subscription(self, topics.CONTROL_MODE, self._on_mode)
        self.create_subscription(Clock, 'clock', self._on_clock, 10)
        self._status.publish(PolicyStatus(state=PolicyStatus.READY, checkpoint='lazy'))
        self._clock = None

    def _on_mode(self, message):
        self.mode = message
        self._answer()

    def _on_clock(self, message):
        self._clock = message.clock
        self._answer()

    def _answer(self):
        if self.mode.mode != ControlMode.POLICY or self._clock is None:
            return
        command = JointTrajectory(joint_names=list(JOINT_NAMES), points=[
            JointTrajectoryPoint(positions=HOME.tolist())])
        command.header.stamp = self._clock
        command.header.frame_id = CommandTag(self.mode.epoch, 1, 0).encode()
        self._command.publish(command)


class Witness(Node):
    """Keeps what arbiter and episode machine say."""

    def __init__(self, **kwargs):
        super().__init__('witness', **kwargs)
        self.episodes, self.executed, self.modes, self.worlds = [], [], [], []
        for spec, heard in ((topics.SIM_STATE, self.worlds), (topics.EPISODE, self.episodes),
                            (topics.EXECUTED_ACTION, self.executed),
                            (topics.CONTROL_MODE, self.modes)):
            subscription(self, replace(spec, depth=HEARD), heard.append)

    def outcomes(self):
        return [state.outcome.value for state in self.episodes
                if state.phase == EpisodeState.IDLE and state.episode_id]


def test_the_robot_waits_for_the_answer_of_every_tick_and_counts_what_it_missed(monkeypatch):
    with ros(monkeypatch, 62) as spin:
        listener = spin(Listener)
        spin(SimRobotNode, robot_file=ROBOT_FILE, lockstep_timeout=1.0, observation='pixels')
        wait_for(lambda: len(listener.clocks) > 30 and listener.images, what='ticks')
        joints, state = listener.joints[-1], listener.states[-1]
        assert tuple(joints.name) == JOINT_NAMES and tuple(state.names) == STATE_NAMES
        assert len(joints.velocity) == len(joints.effort) == 14
        assert all(stamp % PERIOD == 0 for stamp in listener.clocks)
        assert list(np.diff(listener.clocks)) == [PERIOD] * (len(listener.clocks) - 1)
        assert decode_jpeg(bytes(listener.images[-1].data)).shape == (96, 96, 3)
        listener.answering = False
        before = listener.worlds[-1].starved_steps
        wait_for(lambda: listener.worlds[-1].starved_steps >= before + 2, what='starved steps')
        listener.answering = True
        future = listener.reset.call_async(ResetScene.Request(task='crate', seed=7))
        wait_for(future.done, what='reset')
        assert future.result().ok
        wait_for(lambda: listener.worlds[-1].task == 'crate' and listener.worlds[-1].step > 3)
        assert listener.worlds[-1].seed == 7 and listener.worlds[-1].starved_steps <= 1
        assert sorted(listener.clocks) == listener.clocks, 'a reset turned back the clock'
        assert listener.success[-1].data is False
        future = listener.reset.call_async(ResetScene.Request(task='dance', seed=7))
        wait_for(future.done, what='refusal')
        assert not future.result().ok and "'dance' is unknown" in future.result().message


def stack(spin, robot_file=ROBOT_FILE, tasks_file=TASKS_FILE, **operator):
    files = {'robot_file': robot_file, 'use_sim_time': True}
    witness = spin(Witness)
    spin(arbiter_node.ArbiterNode, **files, require_policy=False)
    spin(episode_node.EpisodeNode, **files, tasks_file=tasks_file, use_reset_scene=True,
         require_recorder=False, require_policy=False)
    spin(SimRobotNode, robot_file=robot_file)
    person = spin(OperatorNode, **files, tasks_file=tasks_file, **operator)
    return witness, person


@pytest.mark.skipif(find_spec('openarm_mujoco') is None, reason='openarm-mujoco is optional: '
                    'make setup EXTRAS=1')
def test_a_second_embodiment_runs_an_episode_under_the_same_nodes(monkeypatch):
    with ros(monkeypatch, 91) as spin:
        witness, person = stack(
            spin, str(CONFIG / 'robots' / 'openarm.yaml'), str(CONFIG / 'tasks' / 'openarm.yaml'),
            mode='demonstrate', tasks=['reach'], episodes=2, seed=10_001)
        wait_for(lambda: person.done, 150.0, 'the demonstrations')
        wait_for(lambda: len(witness.outcomes()) == 2, what='the outcomes')
        assert witness.outcomes() == [Outcome.SUCCESS] * 2
        human = [row for row in witness.executed if row.source == ExecutedAction.SOURCE_HUMAN]
        assert len(human) > 16 and len(human[0].sent) == 16  # by Float64MultiArray
        assert human[0].joint_names[7] == 'openarm_left_gripper'
        assert witness.worlds[-1].starved_steps == 0


def test_a_demonstration_is_driven_by_the_operator_and_labelled_a_success(monkeypatch):
    with ros(monkeypatch, 63) as spin:
        witness, person = stack(spin, mode='demonstrate', tasks=['place'], episodes=1, seed=10_001)
        wait_for(lambda: person.done, 150.0, 'the demonstration')
        wait_for(witness.outcomes, what='the outcome')  # may reach it after the operator
        assert witness.outcomes()[-1] == Outcome.SUCCESS
        states = [state for state in witness.episodes if state.episode_id]
        assert states[-1].labelled_by == 'scripted' and states[-1].seed == 10_001
        sources = [row.source for row in witness.executed if row.tick > 0]
        human = sources.count(ExecutedAction.SOURCE_HUMAN)
        assert human > 50
        first = next(row for row in witness.executed if row.source == ExecutedAction.SOURCE_HUMAN)
        assert first.tick <= 2, 'the operator was not ready at the first tick'
        clamped = [row.clamped for row in witness.executed
                   if row.source == ExecutedAction.SOURCE_HUMAN]
        assert np.mean(np.array(clamped) > 0) < 0.05, 'the guard changes what the expert does'


def test_a_standing_policy_is_taken_over_corrected_and_the_episode_saved(monkeypatch):
    with ros(monkeypatch, 64) as spin:
        spin(LazyPolicy)
        witness, person = stack(spin, mode='supervise', tasks=['place'], episodes=1, seed=100_003,
                                max_takeovers=1)
        wait_for(lambda: person.done, 150.0, 'the episode')
        wait_for(witness.outcomes, what='the outcome')  # may reach it after the operator
        assert witness.outcomes()[-1] == Outcome.SUCCESS
        sources = [row.source for row in witness.executed]
        assert sources.count(ExecutedAction.SOURCE_POLICY) > 15
        assert sources.count(ExecutedAction.SOURCE_HUMAN) > 40
        takeover = next(mode for mode in witness.modes if mode.mode == ControlMode.HUMAN)
        assert takeover.reason == 'no progress at "reach"'
        assert witness.worlds[-1].starved_steps == 0, 'a tick went unanswered'


def test_the_operator_takes_over_and_hands_back_through_joystick_deadman_and_ik(monkeypatch):
    teleop = pytest.importorskip('lwd_intervention.teleop_node')
    with ros(monkeypatch, 31) as spin:
        spin(LazyPolicy)
        spin(teleop.TeleopNode, robot_file=ROBOT_FILE, use_sim_time=True, mapping='scripted',
             mapping_dir=str(CONFIG / 'teleop'), operator_name='scripted', await_joy=True,
             arms_file=str(CONFIG / 'teleop' / 'arms' / 'sim.yaml'))
        witness, person = stack(spin, mode='supervise', tasks=['place'], episodes=1, seed=100_003,
                                max_takeovers=2, teleop='joystick')
        wait_for(lambda: person.done, 150.0, 'the episode')
        wait_for(witness.outcomes, what='the outcome')
        assert witness.outcomes()[-1] == Outcome.SUCCESS
        modes = [mode.mode for mode in witness.modes if mode.epoch > 0]
        assert modes.count(ControlMode.HUMAN) >= 2, 'he handed back once and took over again'
        changes = [(mode.previous, mode.mode, mode.reason) for mode in witness.modes]
        assert (ControlMode.HUMAN, ControlMode.POLICY, 'handback button') in changes
        reasons = [mode.reason for mode in witness.modes if mode.mode == ControlMode.HUMAN]
        # Words that come after the thumb are told by `intervention` instead.
        assert any('deadman' not in reason for reason in reasons), reasons
        sources = [row.source for row in witness.executed]
        assert sources.count(ExecutedAction.SOURCE_HUMAN) > 40
        assert witness.worlds[-1].starved_steps == 0, 'a tick went unanswered'


@pytest.mark.parametrize(('params', 'words'), [
    ({}, 'robot_file'),
    ({'robot_file': ROBOT_FILE, 'observation': 'sound'}, "'sound' refused, must be one of"),
    ({'robot_file': ROBOT_FILE, 'jpeg_quality': 0}, 'must be 1 to 100')])
def test_a_bad_parameter_is_refused_with_its_bound(monkeypatch, params, words):
    with ros(monkeypatch, 65) as spin, pytest.raises(ParamError, match=words):
        spin(SimRobotNode, **params)

# SPDX-License-Identifier: Apache-2.0
"""The rest of a robot for tests over DDS: a lockstep simulation, a policy, an operator."""

from contextlib import contextmanager
from dataclasses import replace
import os
import threading
import time

from intervention_fixtures import NAMES, PERIOD
import rclpy
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lwd_core import topics
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_spin import SpinThread
from lwd_core.ros_tick import to_ns, to_stamp
from lwd_core.topics import CommandTag
from lwd_msgs.action import RunEpisode
from lwd_msgs.msg import (
    ControlMode,
    EpisodeState,
    ExecutedAction,
    Intervention,
    PolicyStatus,
    RecorderStatus,
)
from lwd_msgs.srv import LabelEpisode, RequestMode, ResetScene

NAMESPACE = f'arm{os.getpid()}'  # two runs on one machine must not hear each other
HEARD = 1000  # messages: a listener that a busy machine keeps waiting misses none of them
PATIENCE = 60.0  # s; only a failure takes so long, also on a busy machine


def trajectory(stamp_ns, positions, frame_id='', names=NAMES):
    message = JointTrajectory(joint_names=list(names),
                              points=[JointTrajectoryPoint(positions=list(positions))])
    message.header.stamp = to_stamp(stamp_ns)
    message.header.frame_id = frame_id
    return message


class FakeSim(Node):
    """Lockstep: joints and clock of tick t, then wait for a command stamped t, then t + 1."""

    def __init__(self, **kwargs):
        super().__init__('sim', namespace=NAMESPACE, **kwargs)
        self.tick, self.positions, self.commands, self.stalls = 0, [0.5, 0.5], 0, 0
        self._joints = publisher(self, topics.JOINT_STATES)
        self._time = self.create_publisher(Clock, 'clock', 10)
        subscription(self, topics.COMMAND, self._on_command)
        self.create_service(ResetScene, 'reset_scene', self._on_reset)
        self.answered = threading.Event()

    def _on_reset(self, request, response):
        self.positions = [0.0, 0.5]
        response.ok = request.seed != 666
        response.message = '' if response.ok else 'no such seed'
        return response

    def _on_command(self, message):
        if to_ns(message.header.stamp) >= self.tick * PERIOD:
            self.commands += 1
            self.positions = list(message.points[0].positions)
            self.step()

    def step(self):
        self.tick += 1
        self.emit()

    def emit(self):
        stamp = to_stamp(self.tick * PERIOD)
        joints = JointState(name=list(NAMES), position=self.positions)
        joints.header.stamp = stamp
        self._joints.publish(joints)
        self._time.publish(Clock(clock=stamp))


class FakePolicy(Node):
    """Answer every tick of POLICY; after a change of mode the newest open one too."""

    def __init__(self, **kwargs):
        super().__init__('policy', namespace=NAMESPACE, **kwargs)
        self.mode, self.tick, self.planned, self.silent = ControlMode(), -1, -1, False
        self._command = publisher(self, topics.POLICY_COMMAND)
        self._status = publisher(self, topics.POLICY_STATUS)
        subscription(self, topics.CONTROL_MODE, self._on_mode)
        self.create_subscription(Clock, 'clock', self._on_clock, 10)
        self._status.publish(PolicyStatus(state=PolicyStatus.READY, checkpoint='c0ffee'))

    def _on_clock(self, message):
        self.tick = to_ns(message.clock)
        self._answer()

    def _on_mode(self, message):
        self.mode = message
        self._answer()

    def _answer(self):
        first = to_ns(self.mode.header.stamp)
        if self.mode.mode != ControlMode.POLICY or self.silent or self.tick < first:
            return
        if self.tick > self.planned or self.mode.epoch != self.epoch:
            self.planned, self.epoch = self.tick, self.mode.epoch
            tag = CommandTag(self.mode.epoch, 5, 0).encode()
            self._command.publish(trajectory(self.tick, [0.1, 0.5], tag))

    epoch = -1


class Operator(Node):
    """Records what the arbiter says; drives, takes over and labels when told."""

    def __init__(self, **kwargs):
        super().__init__('operator', namespace=NAMESPACE, **kwargs)
        self.driving, self.executed, self.modes = False, [], []
        self.interventions, self.states, self.tick = [], [], -1
        self._teleop = publisher(self, topics.TELEOP_COMMAND)
        self._recorder = publisher(self, topics.RECORDER_STATUS)
        for spec, hear in ((topics.EXECUTED_ACTION, self._on_executed),
                           (topics.CONTROL_MODE, self.modes.append),
                           (topics.INTERVENTION, self.interventions.append),
                           (topics.EPISODE, self._on_episode)):
            subscription(self, replace(spec, depth=HEARD), hear)
        self.create_subscription(Clock, 'clock', self._on_clock, 10)
        self.request = self.create_client(RequestMode, 'arbiter/request_mode')
        self.label = self.create_client(LabelEpisode, 'episode/label')
        self.run = ActionClient(self, RunEpisode, topics.RUN_EPISODE)

    def _on_executed(self, message):
        self.executed.append((to_ns(message.header.stamp) // PERIOD, message.source))

    def _on_episode(self, message):
        self.states.append(message)
        if message.phase == EpisodeState.READY:
            self._recorder.publish(RecorderStatus(
                state=RecorderStatus.RECORDING, episode_id=message.episode_id))

    def _on_clock(self, message):
        self.tick = to_ns(message.clock)
        if self.driving:
            self._teleop.publish(trajectory(self.tick, [0.2, 0.5]))

    def ask(self, mode, **fields):
        return call(self.request, RequestMode.Request(mode=mode, **fields))


def call(client, request, timeout=PATIENCE):
    assert client.wait_for_service(timeout)
    done, future = threading.Event(), client.call_async(request)
    future.add_done_callback(lambda _: done.set())
    assert done.wait(timeout), f'{client.srv_name} gave no answer'
    return future.result()


def wait_for(condition, timeout=PATIENCE, what='condition'):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f'{what} not met in {timeout} s'
        time.sleep(0.005)


@contextmanager
def world(domain_id):
    """Give `spin(make)`: make(context) in an executor thread of its own."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    started = []

    def spin(make, **parameters):
        node = make(context=context, parameter_overrides=[
            Parameter(name, value=value) for name, value in parameters.items()])
        started.append((SpinThread(node, context=context), node))  # many nodes in this process
        return node
    try:
        yield spin
    finally:
        for thread, _ in started:
            thread.stop()
        for _, node in started:
            node.destroy_node()
        rclpy.shutdown(context=context)


SOURCES = {ExecutedAction.SOURCE_HOLD: 'HOLD', ExecutedAction.SOURCE_POLICY: 'POLICY',
           ExecutedAction.SOURCE_HUMAN: 'HUMAN'}
STARTED = Intervention.STARTED

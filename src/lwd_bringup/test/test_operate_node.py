# SPDX-License-Identifier: Apache-2.0
"""The operator's view over DDS: it hears a robot, and its keys reach the robot's services."""

import os
import time

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.node import Node  # noqa: E402

from lwd_bringup.operate.operate_node import OperateNode  # noqa: E402
from lwd_bringup.operate.view import OperatorView  # noqa: E402
from lwd_core import topics  # noqa: E402
from lwd_core.ros_qos import publisher  # noqa: E402
from lwd_core.ros_spin import SpinThread  # noqa: E402
from lwd_core.ros_tick import to_stamp  # noqa: E402
from lwd_msgs.msg import ActionChunk, ControlMode, EpisodeState, ExecutedAction  # noqa: E402
from lwd_msgs.srv import LabelEpisode, RequestMode  # noqa: E402

PERIOD = 40_000_000
PATIENCE = 60.0
ROBOT = f'arm{os.getpid()}'  # two runs on one machine must not hear each other


class FakeRobot(Node):
    """An arbiter and an episode node, as far as a view can tell."""

    def __init__(self, **kwargs):
        super().__init__('robot', namespace=ROBOT, **kwargs)
        self.asked = []
        self.mode = publisher(self, topics.CONTROL_MODE)
        self.episode = publisher(self, topics.EPISODE)
        self.executed = publisher(self, topics.EXECUTED_ACTION)
        self.chunk = publisher(self, topics.POLICY_CHUNK)
        self.create_service(RequestMode, 'arbiter/request_mode', self._on_mode)
        self.create_service(LabelEpisode, 'episode/label', self._on_label)

    def _on_mode(self, request, response):
        self.asked.append(request.mode)
        response.accepted = request.mode == ControlMode.HOLD
        response.message = 'done' if response.accepted else 'the policy is not ready'
        return response

    def _on_label(self, request, response):
        self.asked.append((request.episode_id, request.outcome.value))
        response.accepted, response.message = True, request.episode_id
        return response


@pytest.fixture
def pair(monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=59)
    robot, node = FakeRobot(context=context), OperateNode(OperatorView(ROBOT), context=context)
    thread = SpinThread(robot, node, context=context)
    yield robot, node
    thread.stop()
    robot.destroy_node()
    node.destroy_node()
    rclpy.shutdown(context=context)


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def test_it_hears_the_robot_and_sees_how_far_the_shadow_is(pair):
    robot, node = pair
    robot.mode.publish(ControlMode(mode=ControlMode.HUMAN, epoch=1, reason='takeover'))
    robot.episode.publish(EpisodeState(episode_id='e1', phase=EpisodeState.RUNNING))
    wait_for(lambda: node.view.mode == 'HUMAN' and node.view.episode_id == 'e1', 'latched state')
    wait_for(lambda: robot.executed.get_subscription_count() and
             robot.chunk.get_subscription_count(), 'discovery')

    def executed(k):
        message = ExecutedAction(source=ExecutedAction.SOURCE_HUMAN, joint_names=['a'], sent=[0.5])
        message.header.stamp = to_stamp(k * PERIOD)
        robot.executed.publish(message)

    for k in (1, 2, 3):
        executed(k)
    wait_for(lambda: node.view.period_ns == PERIOD, 'the period')
    chunk = ActionChunk(shadow=True, horizon=8, action_dim=1, joint_names=['a'],
                        actions=[0.25] * 8)
    chunk.header.stamp = to_stamp(4 * PERIOD)
    robot.chunk.publish(chunk)
    wait_for(lambda: node._shadow is not None, 'the shadow chunk')
    executed(5)
    wait_for(lambda: node.view.difference == pytest.approx(0.25), 'the difference')


def test_keys_reach_the_services_and_answers_come_back_in_words(pair):
    robot, node = pair
    said = []
    wait_for(lambda: node._mode.service_is_ready() and node._label.service_is_ready(), 'services')
    for count, ask in enumerate((
            lambda: node.request('HOLD', said.append), lambda: node.request('POLICY', said.append),
            lambda: node.label('e1', 'failure', said.append)), 1):
        ask()
        wait_for(lambda: len(said) == count, 'an answer')  # noqa: B023
    assert robot.asked == [ControlMode.HOLD, ControlMode.POLICY, ('e1', 2)]
    assert said == ['done', 'refused: the policy is not ready', 'e1']

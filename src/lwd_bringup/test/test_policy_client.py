# SPDX-License-Identifier: Apache-2.0
"""`lwd policy` over DDS, with the policy node's services played by the test."""

import os
import threading

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from lwd_bringup.cli import policy as command  # noqa: E402
from lwd_bringup.policy_client_node import PolicyClient  # noqa: E402
from lwd_core import topics  # noqa: E402
from lwd_core.ros_qos import publisher  # noqa: E402
from lwd_msgs.msg import PolicyStatus  # noqa: E402
from lwd_msgs.srv import LoadCheckpoint  # noqa: E402

DOMAIN = 96
ROBOT = f'r{os.getpid()}'  # two runs on one machine must not hear each other


@pytest.fixture
def robot(monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node('policy', namespace=ROBOT, context=context)
    node.previous, node.asked = 'a' * 64, []
    status = publisher(node, topics.POLICY_STATUS)
    status.publish(PolicyStatus(
        state=PolicyStatus.ACTING, checkpoint='b' * 64, checkpoint_step=7, backend='onnxruntime',
        rejected_checkpoint='c' * 64, rejected_reason='policy.safetensors is damaged'))

    def on_rollback(request, response):
        response.success = bool(node.previous)
        response.message = f'{node.previous[:12]} acts now' if node.previous else 'no previous'
        return response

    def on_load(request, response):
        node.asked.append(request.digest)
        response.accepted, response.message = True, 'acts when this episode ends'
        return response
    node.create_service(Trigger, 'policy/rollback', on_rollback)
    node.create_service(LoadCheckpoint, 'policy/load_checkpoint', on_load)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)
    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    yield node
    stop.set()
    thread.join(10.0)
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture(autouse=True)
def same_domain(monkeypatch):
    monkeypatch.setattr(command, '_client', lambda name, timeout: PolicyClient(
        name, timeout, domain_id=DOMAIN))


def test_status_says_what_acts_and_what_was_refused_and_why(robot, capsys):
    command.status(ROBOT, 30.0)
    said = capsys.readouterr().out
    assert f'{ROBOT}: acting' in said and 'bbbbbbbbbbbb (step 7), computed by onnxruntime' in said
    assert 'refused   cccccccccccc: policy.safetensors is damaged' in said


def test_rollback_says_what_acts_now_or_why_not(robot, capsys):
    command.rollback(ROBOT, 30.0)
    assert capsys.readouterr().out == f'{ROBOT}: aaaaaaaaaaaa acts now\n'
    robot.previous = ''
    with pytest.raises(RuntimeError, match=f'{ROBOT}: refused: no previous'):
        command.rollback(ROBOT, 30.0)


def test_load_asks_for_the_digest(robot, capsys):
    command.load(ROBOT, 'abcdef012345', 30.0)
    assert robot.asked == ['abcdef012345'] and 'when this episode ends' in capsys.readouterr().out


def test_a_robot_that_is_not_there_is_named_with_what_to_look_at():
    with pytest.raises(RuntimeError, match='/nobody/policy/rollback .*ROS_DOMAIN_ID'):
        command.rollback('nobody', 0.3)

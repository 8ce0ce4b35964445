# SPDX-License-Identifier: Apache-2.0
"""The node tells what its session does, over DDS, and ends with its last words."""

import os
import time

import pytest

rclpy = pytest.importorskip('rclpy')

from learner_stores import CONFIG, LATER, record_into, ROBOT_FILE, TASKS_FILE  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
import yaml  # noqa: E402

from lwd_core import topics  # noqa: E402
from lwd_core.params import ParamError  # noqa: E402
from lwd_core.ros_qos import subscription  # noqa: E402
from lwd_learner.learner_node import LearnerNode, PHASES, status_message  # noqa: E402
from lwd_learner.status import Status  # noqa: E402
from lwd_msgs.msg import LearnerStatus  # noqa: E402


@pytest.fixture
def context(monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(
        os.environ.get('ROS_DOMAIN_ID', 20 + os.getpid() % 80)))
    yield context
    rclpy.shutdown(context=context)


def node_of(context, folder, **values) -> LearnerNode:
    (folder / 'learner.yaml').write_text(yaml.safe_dump(CONFIG))
    values = {
        'store': str(folder / 'store'), 'work_dir': str(folder / 'work'),
        'robot_file': str(ROBOT_FILE), 'tasks_file': str(TASKS_FILE),
        'config': str(folder / 'learner.yaml'), 'poll_period': 0.05, 'niceness': 0, **values}
    return LearnerNode(context=context, namespace='/lwd', parameter_overrides=[
        Parameter(name, value=value) for name, value in values.items()])


def test_clones_learns_announces_and_ends_with_a_checkpoint(context, tmp_path):
    record_into(tmp_path / 'store', 'demo', human=(0, 30))
    node = node_of(context, tmp_path, bootstrap_demonstrations=1)
    listener = rclpy.create_node('listener', context=context)
    announced, said = [], []
    subscription(listener, topics.CHECKPOINT, announced.append)
    subscription(listener, topics.LEARNER_STATUS, said.append)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executor.add_node(listener)

    def until(condition):
        deadline = time.monotonic() + 100
        while not condition():
            assert time.monotonic() < deadline and node.failure is None, said[-1:]
            executor.spin_once(timeout_sec=0.05)

    until(lambda: announced)
    assert announced[0].step == 0 and announced[0].channel == 'stable'
    record_into(tmp_path / 'store', 'e1', recorded_at=LATER)
    until(lambda: said and said[-1].phase == LearnerStatus.ONLINE and said[-1].step > 3)
    assert (said[-1].episodes_offline, said[-1].episodes_online) == (1, 1)
    executor.remove_node(node)
    node.destroy_node()
    until(lambda: announced[-1].step == node.session.status.step)
    listener.destroy_node()
    assert node.session.status.step == announced[-1].step > 3


def test_missing_path_is_refused_by_name(context, tmp_path):
    with pytest.raises(ParamError, match="parameter work_dir: '' refused"):
        node_of(context, tmp_path, work_dir='')


@pytest.mark.parametrize('phase', sorted(PHASES))
def test_every_phase_has_its_message(phase):
    nothing = float('nan')
    status = Status(phase, 'why', 3, (1, 2), (10, 20), 'abc', 1, nothing, nothing, nothing,
                    {'tau': 0.5})
    message = status_message(status, 4)
    assert message.phase == PHASES[phase] and message.episodes_rejected == 4
    assert message.tau == 0.5 and message.loss_value != message.loss_value

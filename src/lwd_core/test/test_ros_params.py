# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.parameter import Parameter  # noqa: E402

from lwd_core import topics  # noqa: E402
from lwd_core.params import param, ParamError  # noqa: E402
from lwd_core.ros_params import declare  # noqa: E402
from lwd_core.ros_qos import interface_class, publisher, subscription  # noqa: E402
from lwd_core.ros_tick import to_ns, to_stamp  # noqa: E402


@dataclass(frozen=True)
class Params:
    rate: float = param(25.0, 'control rate', unit='Hz', lower=1.0, upper=1000.0)
    cameras: tuple[str, ...] = param((), 'cameras')
    gain: float = param(1.0, 'gain', lower=0.0, read_only=False)


@pytest.fixture
def make_node(monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=41)
    nodes = []

    def make(**overrides):
        nodes.append(rclpy.create_node('params_test', context=context, parameter_overrides=[
            Parameter(name, value=value) for name, value in overrides.items()]))
        return nodes[-1]
    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def test_overrides_become_the_dataclass(make_node):
    node = make_node(rate=50, cameras=['head'])
    assert declare(node, Params) == Params(rate=50.0, cameras=('head',))
    assert declare(make_node(), Params) == Params()


def test_a_bad_override_is_refused_with_its_bound(make_node):
    with pytest.raises(ParamError, match='parameter rate: 0.0 Hz refused, must be 1.0 to 1000.0'):
        declare(make_node(rate=0.0), Params)


def test_changes_are_validated_and_told(make_node):
    node, seen = make_node(), []
    declare(node, Params, on_change=seen.append)
    refused, = node.set_parameters([Parameter('gain', value=-1.0)])
    assert not refused.successful and 'at least 0.0' in refused.reason
    assert node.set_parameters([Parameter('gain', value=2.0)])[0].successful
    assert seen == [Params(gain=2.0)]
    assert not node.set_parameters([Parameter('rate', value=50.0)])[0].successful


def test_every_topic_can_be_created_with_its_qos(make_node):
    node = make_node()
    for spec in topics.robot_topics(('head',), 'forward_command'):
        publisher(node, spec)
        subscription(node, spec, lambda _: None)
    assert interface_class('lwd_msgs/srv/RequestMode').__name__ == 'RequestMode'


def test_stamps_convert_without_loss():
    assert to_ns(to_stamp(1_700_000_000_123_456_789)) == 1_700_000_000_123_456_789

# SPDX-License-Identifier: Apache-2.0
import pytest

from lwd_core import topics
from lwd_core.topics import CommandTag, TopicSpec

SPECS = [value for value in vars(topics).values() if isinstance(value, TopicSpec)]


@pytest.mark.parametrize('spec', SPECS, ids=lambda spec: spec.name)
def test_latched_topics_are_reliable_and_keep_one(spec):
    if spec.latched:
        assert (spec.reliability, spec.durability, spec.depth) == ('reliable', 'transient_local', 1)


def test_command_type_follows_the_drivers_interface():
    assert topics.command('forward_command').type == 'std_msgs/msg/Float64MultiArray'
    assert topics.command('joint_trajectory').type == 'trajectory_msgs/msg/JointTrajectory'
    with pytest.raises(ValueError, match="'velocity' is not one of forward_command"):
        topics.command('velocity')


def test_a_bag_holds_every_camera_and_the_executed_actions():
    names = [spec.name for spec in topics.robot_topics(('head', 'wrist'), 'joint_trajectory')]
    assert {'camera/head/image/compressed', 'camera/wrist/image/compressed',
            'executed_action', 'command', 'episode'} <= set(names)
    assert len(names) == len(set(names))


def test_command_tag_survives_the_frame_id():
    tag = CommandTag(epoch=3, chunk=17, index=4)
    assert CommandTag.decode(tag.encode()) == tag


@pytest.mark.parametrize('frame_id', ['', 'base_link', 'epoch=3', 'epoch=-1 chunk=2 index=3'])
def test_a_frame_id_of_another_source_is_no_tag(frame_id):
    assert CommandTag.decode(frame_id) is None

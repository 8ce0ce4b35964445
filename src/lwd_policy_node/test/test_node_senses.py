# SPDX-License-Identifier: Apache-2.0
"""The node over DDS: what a policy sees, and when."""

from importlib.util import find_spec

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from node_world import connected, PERIOD  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from lwd_core import topics  # noqa: E402
from lwd_core.images import encode_jpeg  # noqa: E402
from lwd_core.ros_qos import publisher  # noqa: E402
from lwd_core.ros_tick import to_ns, to_stamp  # noqa: E402
from lwd_msgs.msg import PolicyStatus  # noqa: E402


def publish_image(w, spec, stamp, raw):
    pixels = np.full((6, 8, 3), 90, np.uint8)
    if raw:
        message = Image(height=6, width=8, encoding='rgb8', step=24)
        message.data = pixels.tobytes()
    else:
        message = CompressedImage(format='jpeg', data=encode_jpeg(pixels))
    message.header.stamp = stamp
    spec.publish(message)


@pytest.mark.parametrize('raw', [False, True])
def test_a_pixels_policy_sees_the_cameras_compressed_or_raw(world, raw):
    w = world()
    spec = topics.camera_raw('head') if raw else topics.camera('head')
    camera = publisher(w.peer, spec)
    w.give('pixels1')
    w.wait_state(PolicyStatus.READY, checkpoint='pixels1')
    w.spin_until(lambda: camera.get_subscription_count() and w.clock.get_subscription_count()
                 and w.joints.get_subscription_count(), 'discovery')
    w.run_policy()
    w.tick += 1
    stamp = to_stamp(w.tick * PERIOD)
    w.sensors(stamp)
    publish_image(w, camera, stamp, raw)
    w.clock.publish(Clock(clock=stamp))
    w.spin_until(lambda: w.commands and w.chunks, 'command')
    assert w.chunks[0].observation_sources == ['joint_states', 'camera/head']
    assert {to_ns(s) for s in w.chunks[0].observation_stamps} == {w.tick * PERIOD}


@pytest.mark.parametrize('sync', ['asof', 'approximate'])
def test_both_ways_of_joining_give_the_same_observation(world, sync):
    if sync == 'approximate':
        pytest.importorskip('message_filters')
    w = world(sync=sync)
    connected(w)
    w.run_policy()
    w.lockstep(1)
    w.spin_until(lambda: w.chunks, 'chunk')
    assert dict(zip(w.chunks[0].observation_sources, map(to_ns, w.chunks[0].observation_stamps))
                ) == {'joint_states': w.tick * PERIOD, 'state_observation': w.tick * PERIOD}


def test_without_message_filters_the_approximate_join_is_refused_with_the_next_step(
        world, capfd):
    if find_spec('message_filters') is not None:
        pytest.skip('message_filters is installed')
    assert not world(sync='approximate').started
    assert 'source one, or use asof' in capfd.readouterr().err


def test_a_tick_waits_for_samples_that_come_after_the_clock(world):
    w = world(join_wait=1.0)  # as long as may be, for a busy machine
    connected(w)
    w.run_policy()
    w.lockstep(1, late_state=True)
    w.spin_until(lambda: w.chunks, 'chunk')
    assert {to_ns(s) for s in w.chunks[0].observation_stamps} == {w.tick * PERIOD}

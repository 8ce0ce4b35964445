# SPDX-License-Identifier: Apache-2.0
"""The recorder as a ROS node: a robot's messages over DDS become an episode in the store."""

from dataclasses import replace
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading
import time

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.parameter import Parameter  # noqa: E402
from rclpy.serialization import deserialize_message  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from lwd_core import topics  # noqa: E402
from lwd_core.episode import EpisodeBagReader, list_episodes, read_episode, read_meta  # noqa: E402
from lwd_core.episode.synthetic import Recipe  # noqa: E402
from lwd_core.observation import ObservationSpec  # noqa: E402
from lwd_core.ros_qos import interface_class, publisher, subscription  # noqa: E402
from lwd_core.ros_spin import SpinThread  # noqa: E402
from lwd_core.ros_tick import to_stamp  # noqa: E402
from lwd_core.store import FolderStore  # noqa: E402
from lwd_logger.recorder_node import RecorderNode  # noqa: E402
from lwd_logger.spool import Spool  # noqa: E402
from lwd_msgs.msg import RecorderStatus  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from support import MESSAGES, ROBOT, ROOT, script, SPECS  # noqa: E402

TIMEOUT = 30.0
# Two runs of this file on one machine must not hear each other.
DOMAIN = 61 + os.getpid() % 9
NAMESPACE = f'/robot_{os.getpid()}'


def wait_for(condition, what):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f'no {what} within {TIMEOUT} s'
        time.sleep(0.005)


class Robot:
    """Publishes a synthetic episode as a real robot's nodes would."""

    def __init__(self, node, simulated=False):
        self.statuses = []
        self.simulated = simulated
        self.clock_node = node
        self.clock = publisher(node, replace(topics.CLOCK, name='clock'))
        self.publishers = {name: publisher(node, spec) for name, spec in SPECS.items()}
        self._listener = subscription(node, topics.RECORDER_STATUS, self.statuses.append)

    def publish(self, topic, message):
        ros_type = interface_class(SPECS[topic].type)
        self.publishers[topic].publish(
            deserialize_message(MESSAGES.serialize(message), ros_type))

    def wait_until_heard(self):
        wait_for(lambda: self.statuses and all(
            p.get_subscription_count() for p in self.publishers.values()), 'recorder')

    def stand_until_recorded(self, recipe):
        """Tell whether the episode is recorded; if not, be a robot that stands still."""
        last = self.statuses[-1]
        if last.state == RecorderStatus.RECORDING and last.episode_id == recipe.id:
            return True
        self.publish('joint_states', next(
            message for _, topic, message in script(ROBOT, recipe, MESSAGES)
            if topic == 'joint_states'))
        return False

    def run(self, recipe, until=lambda tick: False):
        """Publish the episode; READY waits for the recorder, as the episode machine does."""
        count = 0
        for log_ns, topic, message in script(ROBOT, recipe, MESSAGES):
            if until((log_ns - recipe.start_ns) // ROBOT.period_ns):
                break
            self.publish(topic, message)
            if self.simulated:  # after the sensors of its tick, as the simulated robot does
                self.clock.publish(Clock(clock=to_stamp(log_ns)))
            count += 1
            if topic == 'episode' and message.phase == 2:
                wait_for(lambda: self.stand_until_recorded(recipe), 'RECORDING')
            time.sleep(0.002)  # far faster than a robot, slow enough for best effort
        return count


@pytest.fixture(params=['wall', 'sim'])
def graph(tmp_path, monkeypatch, request):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = rclpy.Context()
    context.init(domain_id=DOMAIN)
    simulated = request.param == 'sim'
    recorder = RecorderNode(
        context=context, namespace=NAMESPACE,
        cli_args=['--ros-args', '-r', f'/clock:={NAMESPACE}/clock'],
        parameter_overrides=[
            Parameter('robot_file', value=str(ROOT / 'config/robots/sim.yaml')),
            Parameter('store', value=str(tmp_path / 'store')), Parameter('robot', value='sim'),
            Parameter('use_sim_time', value=simulated),
            Parameter('disk_stop_mib', value=1), Parameter('disk_warn_mib', value=1)])
    helper = rclpy.create_node('fake_robot', context=context, namespace=NAMESPACE)
    thread = SpinThread(recorder, helper, context=context)
    yield Robot(helper, simulated), FolderStore(tmp_path / 'store')
    thread.stop()
    recorder.destroy_node()
    helper.destroy_node()  # or its latched messages would reach the next test
    context.try_shutdown()


def test_two_episodes_over_dds_are_two_bags_without_a_loss(graph):
    robot, store = graph
    robot.wait_until_heard()
    for number in (1, 2):
        recipe = Recipe(id=f'ep-{number}', ticks=40, human=(10, 20), seed=number,
                        start_ns=number * 10**10)
        count = robot.run(recipe)
        wait_for(lambda: robot.statuses[-1].last_episode_id == recipe.id, 'hand-over')  # noqa: B023
        path = list_episodes(store)[-1]
        meta = read_meta(store, path)
        assert (meta.id, meta.outcome, meta.robot) == (recipe.id, 'success', 'sim')
        assert meta.clock == ('sim' if robot.simulated else 'wall')
        assert sum(topic['lost'] for topic in meta.topics.values()) == 0
        bag = EpisodeBagReader(store.local(path) / meta.bag['file'])
        assert len(bag.raw()) >= count
        logged = [stamp for _, stamp, _ in bag.messages(['/sim/executed_action'])]
        span = (logged[-1] - logged[2]) / ROBOT.period_ns
        assert not robot.simulated or 41 <= span <= 42, 'logged on the simulated clock'
        data = read_episode(store.local(path), ROBOT, ObservationSpec.for_robot(ROBOT, 'state'))
        assert len(data) == 40 and list(data.source[9:21]) == [1] + [2] * 10 + [1]
        assert data.dropped == data.substituted == 0
    status = robot.statuses[-1]
    assert (status.state, status.episodes_written, status.lost_total) == (RecorderStatus.IDLE, 2, 0)


def test_a_slow_disk_loses_nothing_while_the_next_episode_is_recorded(graph, monkeypatch):
    """Every sync takes 0.2 s here: bags close while others are open and filling."""
    robot, store = graph
    real = os.fsync
    monkeypatch.setattr(os, 'fsync', lambda handle: (time.sleep(0.2), real(handle)))
    robot.wait_until_heard()
    sent = [robot.run(Recipe(id=f'ep-{number}', ticks=40, seed=number, start_ns=number * 10**10))
            for number in (1, 2, 3)]
    assert robot.statuses[-1].episodes_written < 3, "the disk was in nobody's way"
    wait_for(lambda: robot.statuses[-1].episodes_written == 3, 'three bags')
    for path, count in zip(list_episodes(store), sent):
        meta = read_meta(store, path)
        assert sum(topic['lost'] for topic in meta.topics.values()) == 0
        assert sum(topic['count'] for topic in meta.topics.values()) >= count
    assert robot.statuses[-1].lost_total == 0


def launch(store):
    """Start the recorder as a process of its own."""
    return subprocess.Popen(
        [sys.executable, '-m', 'lwd_logger.recorder_node', '--ros-args',
         '-r', f'__ns:={NAMESPACE}', '-p', 'robot:=sim',
         '-p', f'robot_file:={ROOT}/config/robots/sim.yaml', '-p', f'store:={store}',
         '-p', 'disk_stop_mib:=1', '-p', 'disk_warn_mib:=1', '-p', 'flush_period:=0.05'],
        env={**os.environ, 'ROS_DOMAIN_ID': str(DOMAIN),
             'PYTHONPATH': os.pathsep.join(path for path in sys.path if path)})


@pytest.fixture
def robot_alone(monkeypatch):
    """Return a robot on a domain of its own, without a recorder."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = rclpy.Context()
    context.init(domain_id=DOMAIN)
    node = rclpy.create_node('fake_robot', context=context, namespace=NAMESPACE)
    thread = SpinThread(node, context=context)
    yield Robot(node)
    thread.stop()
    node.destroy_node()
    context.try_shutdown()


def test_a_killed_recorder_loses_at_most_its_flush_period(robot_alone, tmp_path):
    robot, store = robot_alone, FolderStore(tmp_path)
    process = launch(tmp_path)
    try:
        robot.wait_until_heard()
        count = robot.run(Recipe(ticks=60), until=lambda tick: tick == 50)
        wait_for(lambda: robot.statuses[-1].messages >= count, 'messages')
        told = len(robot.statuses)  # at 1 Hz, each after the flush that is due
        wait_for(lambda: len(robot.statuses) > told, 'the next status')
    finally:
        process.kill()
        process.wait()
    assert list_episodes(store) == []
    process = launch(tmp_path)
    try:
        wait_for(lambda: list_episodes(store), 'recovery')
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
    path, = list_episodes(store)
    meta = read_meta(store, path)
    assert meta.recovered and meta.outcome == 'unlabelled'
    assert sum(topic['count'] for topic in meta.topics.values()) >= count
    assert len(read_episode(store.local(path), ROBOT, ObservationSpec.for_robot(ROBOT, 'state'),
                            require_outcome=False)) == 50


def test_a_recorder_that_is_asked_to_stop_closes_its_bag(robot_alone, tmp_path):
    process = launch(tmp_path)
    try:
        robot_alone.wait_until_heard()
        robot_alone.run(Recipe(ticks=20), until=lambda tick: tick == 10)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
    meta = read_meta(FolderStore(tmp_path), list_episodes(FolderStore(tmp_path))[0])
    assert not meta.recovered and 'was stopped' in meta.detail


def test_a_bad_robot_file_is_one_line_and_exit_2(tmp_path):
    (tmp_path / 'robot.yaml').write_text('name: x')
    done = subprocess.run(
        [sys.executable, '-m', 'lwd_logger.recorder_node', '--ros-args',
         '-p', f'robot_file:={tmp_path}/robot.yaml', '-p', f'store:={tmp_path}'],
        capture_output=True, text=True, timeout=TIMEOUT, env={
            **os.environ, 'ROS_DOMAIN_ID': str(DOMAIN),
            'PYTHONPATH': os.pathsep.join(path for path in sys.path if path)})
    assert done.returncode == 2 and 'robot.yaml' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_parameters_that_make_no_sense_are_refused(tmp_path):
    context = rclpy.Context()
    context.init(domain_id=DOMAIN)
    try:
        for name, value, text in (
                ('robot_file', '', 'robot_file'), ('store', '', 'store'),
                ('queue_mib', 0, 'queue_mib: 0'), ('raw_cameras', ['tail'], "'tail' refused")):
            values = {'robot_file': str(ROOT / 'config/robots/sim.yaml'),
                      'store': str(tmp_path), name: value}
            with pytest.raises(Exception, match=text):
                RecorderNode(context=context, namespace=NAMESPACE, parameter_overrides=[
                    Parameter(key, value=value) for key, value in values.items()])
    finally:
        context.try_shutdown()


def test_a_recorder_that_cannot_begin_leaves_no_thread_that_keeps_its_process(
        tmp_path, monkeypatch):
    def broken(self, fallback):
        raise OSError(5, 'Input/output error', 'spool')
    monkeypatch.setattr(Spool, 'recover', broken)
    context = rclpy.Context()
    context.init(domain_id=DOMAIN)
    before = set(threading.enumerate())
    try:
        with pytest.raises(OSError, match='Input/output error'):
            RecorderNode(context=context, namespace=NAMESPACE, parameter_overrides=[
                Parameter('robot_file', value=str(ROOT / 'config/robots/sim.yaml')),
                Parameter('store', value=str(tmp_path / 'store'))])
    finally:
        context.try_shutdown()
    assert not [thread for thread in set(threading.enumerate()) - before if not thread.daemon]


@pytest.fixture
def make_recorder(robot_alone, tmp_path):
    """Return how to start recorders in this process, and the robot beside them."""
    context = rclpy.Context()
    context.init(domain_id=DOMAIN)
    thread = SpinThread(context=context)
    nodes = []

    def make(name, **parameters):
        values = {'robot_file': str(ROOT / 'config/robots/sim.yaml'), 'robot': 'sim',
                  'store': str(tmp_path / name), 'disk_stop_mib': 1, 'disk_warn_mib': 1,
                  **parameters}
        node = RecorderNode(context=context, namespace=NAMESPACE, parameter_overrides=[
            Parameter(key, value=value) for key, value in values.items()])
        nodes.append(node)
        thread.executor.add_node(node)
        return node

    yield make
    thread.stop()
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_two_recorders_of_one_robot_are_noticed_by_both_and_the_next_episode_refused(
        robot_alone, make_recorder):
    first, second = make_recorder('one'), make_recorder('two')
    wait_for(lambda: first.recorder.rival and second.recorder.rival, 'rivals')
    assert 'two recorders for one robot' in first.recorder.rival
    recipe = Recipe(ticks=5)
    ready = next(message for _, topic, message in script(ROBOT, recipe, MESSAGES)
                 if topic == 'episode' and message.phase == 2)
    robot_alone.publish('episode', ready)
    wait_for(lambda: any(status.state == RecorderStatus.FAULT and 'two recorders' in status.reason
                         for status in robot_alone.statuses), 'FAULT')
    second.destroy_node()
    wait_for(lambda: not first.recorder.rival, 'the end of it')


def test_a_camera_that_offers_best_effort_is_recorded_all_the_same(
        robot_alone, make_recorder, tmp_path):
    """A raw camera is asked for reliably; many drivers do not offer that."""
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    recorder = make_recorder('store', raw_cameras=['head'])
    node = robot_alone.clock_node
    camera = node.create_publisher(Image, 'camera/head/image', qos_profile_sensor_data)
    wait_for(camera.get_subscription_count, 'a subscription that fits')
    robot_alone.publishers.pop('camera/head/image/compressed')  # nobody listens to it
    robot_alone.wait_until_heard()
    image = Image(width=4, height=2, encoding='rgb8', step=12, data=bytes(24))
    recipe = Recipe(ticks=30)
    robot_alone.run(recipe, until=lambda tick: camera.publish(image))
    store = FolderStore(tmp_path / 'store')
    wait_for(lambda: list_episodes(store), 'the episode')
    meta = read_meta(store, list_episodes(store)[0])
    assert meta.topics['/sim/camera/head/image']['count'] > 10
    bag = EpisodeBagReader(store.local(list_episodes(store)[0]) / meta.bag['file'])
    bag.raw()
    offered = bag.offered_qos()['/sim/camera/head/image']
    assert [profile['reliability'] for profile in offered] == ['best_effort']
    assert recorder.recorder.status().lost_total == 0

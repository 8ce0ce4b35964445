# SPDX-License-Identifier: Apache-2.0
"""A bag is published again over DDS: what, when, where, and what is refused."""

from dataclasses import replace
import os
import time

from exchange_fixtures import jpeg, record, ROBOT
import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from lwd_bringup.replay import (  # noqa: E402
    bag_topics,
    by_header,
    matches,
    moved,
    open_bag,
    Recorded,
    ReplayError,
    selected,
)
from lwd_bringup.replay_node import ReplayNode  # noqa: E402
from lwd_core import topics  # noqa: E402
from lwd_core.episode import EpisodeBagReader, EpisodeMeta  # noqa: E402
from lwd_core.episode.reader import stamp_ns  # noqa: E402
from lwd_core.episode.synthetic import START_NS  # noqa: E402
from lwd_core.ros_qos import subscription  # noqa: E402
from lwd_core.ros_tick import to_ns  # noqa: E402

PERIOD = ROBOT.period_ns
DOMAIN = int(os.environ.get('ROS_DOMAIN_ID', 20 + os.getpid() % 80))
TICKS = 25  # one second, after 5 ticks of pre-roll
PATIENCE_S = 60.0


class Listener:
    """A node beside the replay, with what it heard: topic -> (wall time, message)."""

    def __init__(self, bag, namespace='sim', neighbour=False, target='', **parameters):
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.heard, self.clock = {}, []
        self.node = rclpy.create_node('listener', context=self.context)
        for spec in (topics.JOINT_STATES, topics.EXECUTED_ACTION, topics.EPISODE,
                     topics.camera('head')):
            name = f'/{namespace}/{spec.name}'
            subscription(self.node, replace(spec, name=name, depth=200),
                         lambda message, key=spec.name: self.heard.setdefault(key, []).append(
                             (time.monotonic(), message)))
        self.node.create_subscription(Clock, f'/{namespace}/clock', self.clock.append, 100)
        self.commands = []
        subscription(self.node, replace(topics.COMMAND, name=f'/{namespace}/command'),
                     self.commands.append)
        self.others = [rclpy.create_node('arbiter', namespace=namespace, context=self.context)
                       ] if neighbour else []
        self.replay = ReplayNode(
            context=self.context, namespace='replaying',
            parameter_overrides=[Parameter(key, value=value)
                                 for key, value in {
                                     'bag': str(bag), 'namespace': target,
                                     **parameters}.items()])
        for node in (self.node, self.replay, *self.others):
            self.executor.add_node(node)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.replay.destroy_node()
        self.executor.shutdown()
        for node in (self.node, *self.others):
            node.destroy_node()
        rclpy.shutdown(context=self.context)

    def run(self, until=None):
        end = time.monotonic() + PATIENCE_S
        while not (until() if until else self.replay.done.is_set()):
            assert time.monotonic() < end, {key: len(value) for key, value in self.heard.items()}
            self.executor.spin_once(timeout_sec=0.02)
        if until:   # a replay that goes on never falls silent
            return self
        heard = -1
        while heard != (heard := sum(map(len, self.heard.values())) + len(self.clock)):
            quiet = time.monotonic() + 0.5
            while time.monotonic() < quiet:
                self.executor.spin_once(timeout_sec=0.01)
        return self

    def ticks(self, topic):
        return [to_ns(message.header.stamp) for _, message in self.heard.get(topic, [])]

    def seconds(self, topic):
        times = [when for when, _ in self.heard[topic]]
        return times[-1] - times[0]


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    return record(tmp_path_factory.mktemp('store'), 'ep', ticks=TICKS)


@pytest.fixture(scope='module')
def recorded(bag):
    """Return the stamps of a topic in the bag, and its messages' bytes."""
    reader = EpisodeBagReader(next(bag.glob('*.mcap')))
    found = {}
    for message in reader.raw():
        found.setdefault(reader.topic_of(message).removeprefix('/sim/'), []).append(
            reader.decode(message))
    return found


def test_everything_but_commands_comes_again_with_its_stamps_and_timing(bag, recorded):
    with Listener(bag) as listener:
        listener.run()
        assert listener.replay.failed == ''
        stamps = {topic: [stamp_ns(m.header.stamp) for m in recorded[topic]]
                  for topic in ('joint_states', 'executed_action', 'camera/head/image/compressed')}
        assert listener.ticks('executed_action') == stamps['executed_action']
        for topic in stamps:  # best effort ones may lose a sample on a busy machine
            heard = listener.ticks(topic)
            assert heard == [stamp for stamp in stamps[topic] if stamp in set(heard)]
            assert len(heard) > 0.8 * len(stamps[topic])
        for _, message in listener.heard['camera/head/image/compressed']:
            tick = (to_ns(message.header.stamp) - START_NS) // PERIOD
            assert bytes(message.data) == jpeg('head', tick)
        # 29 periods of 40 ms lie between the first and the last sample; only load makes it longer
        assert 0.9 <= listener.seconds('joint_states') < 8.0
        assert [m.phase for _, m in listener.heard['episode']][-1] == 0
        assert listener.commands == []


def test_a_simulated_robots_clock_comes_after_the_samples_of_its_tick(bag, recorded):
    assert EpisodeMeta.read(bag).clock == 'sim'
    with Listener(bag, rate=5.0) as listener:
        listener.run()
        stamps = [to_ns(message.clock) for message in listener.clock]
        assert stamps == sorted(set(stamps))
        assert set(listener.ticks('executed_action')) <= set(stamps)


def test_rate_start_and_topics_are_chosen(bag, recorded):
    with Listener(bag, rate=0.2, start=0.6, topics=['joint_states', 'episode']) as listener:
        listener.run()
        every = [stamp_ns(m.header.stamp) for m in recorded['joint_states']]
        late = [stamp for stamp in every if stamp - every[0] >= 600_000_000]
        assert listener.ticks('joint_states')[0] in late[:3]
        assert set(listener.ticks('joint_states')) <= set(late)
        assert 'executed_action' not in listener.heard
        # the episode's state of before `start` still holds, and is told first
        assert listener.heard['episode'][0][1].phase == 3
        # five times as long as recorded; a busy machine may hear the first sample late
        span = (listener.ticks('joint_states')[-1] - listener.ticks('joint_states')[0]) / 1e9
        assert listener.seconds('joint_states') > 2 * span > 0.5


def test_it_loops_until_it_is_stopped(bag):
    with Listener(bag, rate=50.0, loop=True, topics=['joint_states']) as listener:
        listener.run(until=lambda: len(listener.ticks('joint_states')) > 3 * TICKS)
        assert not listener.replay.done.is_set()
        assert len(set(listener.ticks('joint_states'))) == TICKS + 5


def test_it_moves_to_another_namespace(bag, recorded):
    with Listener(bag, namespace='elsewhere', rate=20.0, target='elsewhere') as listener:
        listener.run()
        # a reliable topic: best effort ones may lose a sample on a busy machine at this rate
        assert len(listener.ticks('executed_action')) == len(recorded['executed_action'])
        names = dict(listener.node.get_topic_names_and_types())
        assert '/sim/joint_states' not in names and '/elsewhere/clock' in names


def test_it_publishes_nothing_beside_a_living_robot_unless_forced(bag):
    with Listener(bag, neighbour=True, rate=50.0) as listener:
        listener.run()
        assert '/sim/arbiter are alive there' in listener.replay.failed
        assert listener.heard == {}
    with Listener(bag, neighbour=True, rate=50.0, force=True) as listener:
        listener.run()
        assert listener.replay.failed == '' and listener.heard


@pytest.mark.parametrize(('topic', 'patterns', 'expected'), [
    ('/sim/joint_states', ('*',), True), ('/sim/command', ('*',), False),
    ('/sim/command', ('command',), True), ('/sim/command', ('/sim/command',), True),
    ('/sim/policy/command', ('policy/*',), False), ('/sim/policy/chunk', ('policy/*',), False),
    ('/sim/policy/chunk', ('*/policy/*',), True), ('/sim/teleop/command', ('*',), False),
    ('/sim/joint_states', ('camera/head', 'joint_states'), True),
])
def test_commands_are_published_only_by_name(topic, patterns, expected):
    assert selected(topic, 'sim', patterns) is expected


def test_names_move_to_another_namespace():
    assert moved('/sim/joint_states', 'sim', 'other') == '/other/joint_states'
    assert moved('/lwd/checkpoint', 'sim', 'other') == '/lwd/checkpoint'
    assert moved('/sim/joy', 'sim', '') == '/sim/joy'
    assert matches('/sim/camera/head/image', ('/sim/camera/*',))


def stamped(stamp, headed=True, latched=False, topic='/a'):
    data = b'\0\1\0\0' + (stamp // 10**9).to_bytes(4, 'little') + (stamp % 10**9).to_bytes(
        4, 'little')
    return Recorded(topic, 'x/msg/X', 5, data, True, latched, headed)


def test_by_header_time_never_runs_backwards_and_ignores_other_clocks():
    second = 10**9
    messages = [stamped(0, headed=False, latched=True), stamped(3 * second), stamped(2 * second),
                stamped(4 * second), stamped(0, headed=False), stamped(9999 * second)]
    assert [one.stamp_ns // second for one in by_header(messages)] == [0, 3, 3, 4, 4, 4]


@pytest.mark.parametrize('spoil', [b'', b'\x89MCAP0\r\n', b'not a bag at all'])
def test_what_is_no_whole_bag_is_refused_with_the_next_step(tmp_path, spoil):
    path = tmp_path / 'x.mcap'
    path.write_bytes(spoil)
    for read in (bag_topics, lambda p: list(open_bag(p))):
        with pytest.raises(ReplayError, match='x.mcap .*`lwd bags recover`'):
            read(path)


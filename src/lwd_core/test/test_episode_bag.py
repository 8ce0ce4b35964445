# SPDX-License-Identifier: Apache-2.0
"""Bags are ordinary rosbag2/MCAP, whole or refused."""

import errno
import os
from pathlib import Path
import signal
import subprocess
import sys

from mcap.reader import make_reader
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
import yaml

from lwd_core import topics
from lwd_core.episode import EpisodeBagReader, EpisodeError
from lwd_core.episode import writer as writer_module
from lwd_core.episode.definitions import DefinitionError, Definitions
from lwd_core.episode.synthetic import Messages, Recipe, write_episode
from lwd_core.episode.writer import EpisodeBagWriter
from lwd_core.hashing import sha256_file
from lwd_core.robot import RobotSpec

ROOT = Path(__file__).resolve().parents[3]
ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')
JOINTS = '/sim/joint_states'


@pytest.fixture(scope='module')
def definitions():
    return Definitions([ROOT / 'src/lwd_msgs'])


@pytest.fixture
def messages(definitions):
    return Messages(definitions)


def joint_state(messages, tick):
    return messages.serialize(messages.make(
        'sensor_msgs/msg/JointState', header=messages.header(tick), name=['a', 'bc']))


@pytest.fixture
def bag(tmp_path, definitions, messages):
    writer = EpisodeBagWriter(tmp_path, 'ep', definitions)
    writer.add_topic(topics.JOINT_STATES, JOINTS)
    writer.add_topic(topics.EPISODE, '/sim/episode')
    for tick in range(50):
        writer.write(JOINTS, joint_state(messages, tick), 1000 + tick, publish_ns=900 + tick)
    return writer.close({'episode_id': 'ep'})


def test_what_was_written_is_read_with_stamps_and_fields(bag):
    reader = EpisodeBagReader(bag.path)
    found = list(reader.messages([JOINTS]))
    assert [stamp for _, stamp, _ in found] == list(range(1000, 1050))
    assert found[7][2].header.stamp.nanosec == 7 and found[7][2].name == ['a', 'bc']
    assert reader.topics == {JOINTS: 'sensor_msgs/msg/JointState',
                             '/sim/episode': 'lwd_msgs/msg/EpisodeState'}
    assert reader.raw()[3].publish_ns == 903


def test_rosbags_reads_the_bag_with_types_and_qos(bag):
    with AnyReader([bag.path.parent]) as reader:
        connection = next(c for c in reader.connections if c.topic == JOINTS)
        assert connection.msgcount == reader.message_count == 50
        assert connection.digest.startswith('RIHS01_')
        qos = connection.ext.offered_qos_profiles[0]
        assert qos.reliability.name == 'BEST_EFFORT' and qos.depth == 5
        stamps = [reader.deserialize(raw, connection.msgtype).header.stamp.nanosec
                  for connection, _, raw in reader.messages()]
    assert stamps == list(range(50))


def test_mcap_reads_the_bag_by_its_index(bag):
    with open(bag.path, 'rb') as file:
        reader = make_reader(file)
        assert reader.get_header().profile == 'ros2'
        assert reader.get_summary().statistics.message_count == 50
        schema, channel, message = next(reader.iter_messages(topics=[JOINTS], start_time=1010))
    assert schema.encoding == 'ros2msg' and message.log_time == 1010
    assert b'MSG: std_msgs/Header' in schema.data
    assert 'best_effort' in channel.metadata['offered_qos_profiles']


@pytest.mark.parametrize('compression', ['none', 'lz4', 'zstd'])
def test_large_and_small_messages_keep_order_and_content_in_every_reader(
        tmp_path, definitions, messages, monkeypatch, compression):
    """Large ones are handed to the kernel as they are, small ones are gathered."""
    monkeypatch.setattr(writer_module, 'CHUNK_BYTES', 150_000)
    writer = EpisodeBagWriter(tmp_path, 'ep', definitions, compression)
    writer.add_topic(topics.JOINT_STATES, JOINTS)
    writer.add_topic(topics.camera('head'), '/sim/camera/head/image/compressed')
    written = []
    for tick in range(60):
        size = (0, 10, 16_383, 16_384, 90_000, 400_000)[tick % 6]
        image = messages.serialize(messages.make(
            'sensor_msgs/msg/CompressedImage', header=messages.header(tick),
            data=np.full(size, tick, np.uint8)))
        for topic, data in ((JOINTS, joint_state(messages, tick)),
                            ('/sim/camera/head/image/compressed', image)):
            writer.write(topic, memoryview(data) if tick % 2 else data, 1000 - tick, tick, tick)
            written.append((topic, 1000 - tick, bytes(data)))
    bag = writer.close()
    assert sha256_file(bag.path) == bag.sha256 and bag.path.stat().st_size == bag.bytes
    reader = EpisodeBagReader(bag.path)
    assert [(reader.topic_of(m), m.log_ns, bytes(m.data)) for m in reader.raw()] == written
    ordered = sorted(written, key=lambda item: item[1])
    with open(bag.path, 'rb') as file:
        seen = [(c.topic, m.log_time, m.data) for _, c, m in make_reader(file).iter_messages()]
    assert sorted(seen) == sorted(ordered) and [s[1] for s in seen] == [o[1] for o in ordered]
    with AnyReader([tmp_path]) as everything:
        assert sorted((c.topic, stamp, bytes(data)) for c, stamp, data in everything.messages()) \
            == sorted(ordered)


def test_metadata_yaml_is_what_ros2_bag_reads(bag):
    text = (bag.path.parent / 'metadata.yaml').read_text()
    info = yaml.safe_load(text)['rosbag2_bagfile_information']
    assert info['version'] == 9 and info['storage_identifier'] == 'mcap'
    assert info['relative_file_paths'] == ['ep_0.mcap'] and info['message_count'] == 50
    assert info['duration']['nanoseconds'] == 49
    assert info['custom_data'] == {'episode_id': 'ep'}
    assert '&id' not in text
    latched = info['topics_with_message_count'][1]['topic_metadata']['offered_qos_profiles'][0]
    assert latched['durability'] == 'transient_local'


def test_the_file_has_its_name_only_when_it_is_whole(tmp_path, definitions, messages):
    writer = EpisodeBagWriter(tmp_path, 'ep', definitions)
    writer.add_topic(topics.JOINT_STATES, JOINTS)
    writer.write(JOINTS, joint_state(messages, 0), 1)
    assert os.listdir(tmp_path) == ['ep_0.mcap.partial']
    writer.close()
    assert sorted(os.listdir(tmp_path)) == ['ep_0.mcap', 'metadata.yaml']


def test_a_type_nobody_defines_is_refused(definitions):
    with pytest.raises(DefinitionError, match='no definition of foo_msgs/msg/Foo .*setup.bash'):
        definitions.get('foo_msgs/msg/Foo')


@pytest.mark.parametrize('keep', [0, 5, 8, 40, 3000, -1, -8, -200])
def test_a_cut_bag_is_refused_as_truncated(bag, keep):
    data = bag.path.read_bytes()
    bag.path.write_bytes(data[:keep])
    with pytest.raises(EpisodeError) as error:
        EpisodeBagReader(bag.path).raw()
    assert error.value.reason in ('truncated', 'damaged')
    assert str(bag.path) in str(error.value)


def test_a_flipped_bit_in_a_message_is_found(bag):
    data = bytearray(bag.path.read_bytes())
    data[data.find(b'bc\x00') + 1] ^= 4
    bag.path.write_bytes(data)
    with pytest.raises(EpisodeError, match='checksum') as error:
        EpisodeBagReader(bag.path).raw()
    assert error.value.reason == 'damaged'


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / 'x.mcap').write_bytes(b'SQLite format 3\0' * 4)
    with pytest.raises(EpisodeError, match='does not start as an MCAP file'):
        EpisodeBagReader(tmp_path / 'x.mcap').raw()
    with pytest.raises(EpisodeError, match='cannot be read'):
        EpisodeBagReader(tmp_path / 'y.mcap')


def test_what_was_flushed_before_a_full_disk_is_whole(tmp_path, definitions, messages, monkeypatch):
    monkeypatch.setattr(writer_module, 'CHUNK_BYTES', 500)
    writer = EpisodeBagWriter(tmp_path, 'ep', definitions)
    writer.add_topic(topics.JOINT_STATES, JOINTS)
    for tick in range(10):
        writer.write(JOINTS, joint_state(messages, tick), tick)
    writer.flush()

    def full(data):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(writer._file, 'write', full)
    with pytest.raises(OSError, match='No space'):
        for tick in range(10, 30):
            writer.write(JOINTS, joint_state(messages, tick), tick)
    writer.abort()
    found, problem = EpisodeBagReader(writer.partial).whole()
    assert [message.log_ns for message in found] == list(range(10)) and problem


CRASH = '''
import sys, time
from lwd_core import topics
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.synthetic import Messages
from lwd_core.episode.writer import EpisodeBagWriter
from lwd_core.hashing import sha256_file
definitions = Definitions([sys.argv[2]])
messages = Messages(definitions)
writer = EpisodeBagWriter(__import__('pathlib').Path(sys.argv[1]), 'ep', definitions)
writer.add_topic(topics.JOINT_STATES, '/sim/joint_states')
data = messages.serialize(messages.make('sensor_msgs/msg/JointState', name=['a'] * 20))
tick = 0
while True:
    writer.write('/sim/joint_states', data, tick)
    tick += 1
    if tick % 40 == 0:
        writer.flush()
        print(tick, flush=True)
'''


@pytest.mark.parametrize('reports', [1, 7, 30])
def test_a_killed_writer_leaves_every_flushed_message_and_no_bag(tmp_path, reports):
    process = subprocess.Popen(
        [sys.executable, '-c', CRASH, str(tmp_path), str(ROOT / 'src/lwd_msgs')],
        stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(p for p in sys.path if p)})
    flushed = 0
    for _ in range(reports):
        flushed = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert os.listdir(tmp_path) == ['ep_0.mcap.partial']
    found, problem = EpisodeBagReader(tmp_path / 'ep_0.mcap.partial').whole()
    assert len(found) >= flushed and problem
    assert [message.log_ns for message in found] == list(range(len(found)))


def test_a_synthetic_episode_has_every_topic_of_the_robot(tmp_path, definitions):
    meta = write_episode(tmp_path, ROBOT, Recipe(ticks=10), definitions)
    reader = EpisodeBagReader(tmp_path / meta.bag['file'])
    assert set(reader.topics) == {
        f'/sim/{spec.name}'
        for spec in topics.robot_topics(ROBOT.camera_names, ROBOT.command_interface)}
    assert meta.topics['/sim/joint_states']['count'] == 15

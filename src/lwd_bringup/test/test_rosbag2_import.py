# SPDX-License-Identifier: Apache-2.0
"""Plain rosbag2 recordings of other robots become episodes, or one clear error."""

from exchange_fixtures import definitions, jpeg, picture, ROBOT, ROBOT_FILE, ROOT
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
import yaml

from lwd_bringup.export.errors import ExchangeError
from lwd_bringup.importing.mapping import Mapping
from lwd_bringup.importing.run import import_demonstrations
from lwd_core.episode import list_episodes, read_episode, read_meta
from lwd_core.episode.synthetic import joints_at, Messages, Recipe
from lwd_core.observation import ObservationSpec
from lwd_core.store import FolderStore

BEGIN = 1_700_000_000_000_000_000
PERIOD = ROBOT.period_ns
NAMES = [f'theirs_{name}' for name in ROBOT.joint_names]
MAPPING = {
    'joint_states': '/arm/joint_states', 'command': '/controller/commands',
    'cameras': {'head': '/cam_high/image_raw/compressed', 'left_wrist': '/cam_left/image_raw'},
    'joints': dict(zip(ROBOT.joint_names, NAMES)), 'command_joints': NAMES,
}


def target(tick):
    return joints_at(ROBOT, Recipe(), tick)


def write_bag(path, storage, ticks=50, joint_rate=4, drop=None, skip=()):
    """Write a foreign bag: joints at 100 Hz, commands at 25 Hz as arrays, two cameras."""
    messages = Messages(definitions())
    with Writer(path, version=9, storage_plugin=storage) as writer:
        store = messages._store
        types = {'/arm/joint_states': 'sensor_msgs/msg/JointState',
                 '/controller/commands': 'std_msgs/msg/Float64MultiArray',
                 '/cam_high/image_raw/compressed': 'sensor_msgs/msg/CompressedImage',
                 '/cam_left/image_raw': 'sensor_msgs/msg/Image',
                 '/imu': 'sensor_msgs/msg/Imu'}
        for type_ in types.values():
            definitions().get(type_)
        connections = {topic: writer.add_connection(topic, type_, typestore=store)
                       for topic, type_ in types.items() if topic not in skip}

        def put(topic, stamp, message):
            if topic in connections and not (drop and drop(topic, stamp)):
                writer.write(connections[topic], stamp, messages.serialize(message))

        for tick in range(ticks):
            stamp = BEGIN + tick * PERIOD
            for part in range(joint_rate):
                at = stamp + part * PERIOD // joint_rate
                put('/arm/joint_states', at, messages.make(
                    'sensor_msgs/msg/JointState', header=messages.header(at), name=NAMES,
                    position=target(tick + part / joint_rate)))
            put('/controller/commands', stamp, messages.make(
                'std_msgs/msg/Float64MultiArray', data=target(tick + 1)))
            put('/cam_high/image_raw/compressed', stamp, messages.make(
                'sensor_msgs/msg/CompressedImage', header=messages.header(stamp), format='jpeg',
                data=np.frombuffer(jpeg('head', tick), np.uint8)))
            put('/cam_left/image_raw', stamp, messages.make(
                'sensor_msgs/msg/Image', header=messages.header(stamp), width=96, height=96,
                encoding='rgb8', step=288, data=picture('left_wrist', tick).reshape(-1)))
            put('/imu', stamp, messages.make('sensor_msgs/msg/Imu'))
    return path


@pytest.fixture
def mapped(tmp_path):
    def mapped(**changes):
        path = tmp_path / 'mapping.yaml'
        path.write_text(yaml.safe_dump({**MAPPING, **changes}))
        return path
    return mapped


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_foreign_bag_becomes_an_episode_once(tmp_path, mapped, storage):
    bag, store, said = write_bag(tmp_path / 'bag', storage), tmp_path / 'store', []
    ask = (bag, str(store), ROBOT_FILE, 'place', 'put it away')
    assert import_demonstrations(*ask, mapping_file=mapped(), robot_name='theirs',
                                 say=said.append) == (1, 0)
    assert said[0] == '/imu (sensor_msgs/msg/Imu) is not in the mapping and was left out'
    assert import_demonstrations(*ask, mapping_file=mapped(), robot_name='theirs') == (0, 1)
    opened = FolderStore(store)
    (path,) = list_episodes(opened)
    assert path.startswith('episodes/theirs/')
    spec = ObservationSpec.for_robot(ROBOT, 'pixels', ('head', 'left_wrist'))
    data = read_episode(opened.local(path), ROBOT, spec, {'place'})
    assert len(data) == 50 and (data.source == 2).all() and data.success
    assert (np.diff(data.ticks_ns) == PERIOD).all() and data.ticks_ns[0] == BEGIN
    for tick in (0, 21, 48):
        np.testing.assert_array_equal(data.joints[tick], target(tick).astype(np.float32))
        np.testing.assert_array_equal(data.actions[tick], target(tick + 1).astype(np.float32))
    assert data.frame('head', 7) == jpeg('head', 7)  # compressed frames are kept to the byte
    seen = data.observation(9).images['left_wrist'].astype(int)
    assert np.abs(seen - picture('left_wrist', 9)).mean() < 2
    meta = read_meta(opened, path)
    assert meta.origin['format'] == 'rosbag2' and meta.outcome == 'success'
    assert data.audit.verdict == 'use', data.audit.warnings


def test_without_a_command_the_action_is_where_the_joints_went_next(tmp_path, mapped):
    bag = write_bag(tmp_path / 'bag', StoragePlugin.MCAP)
    mapping = mapped(command='', cameras={})
    import_demonstrations(bag, str(tmp_path / 'store'), ROBOT_FILE, 'place', mapping_file=mapping)
    opened = FolderStore(tmp_path / 'store')
    (path,) = list_episodes(opened)
    data = read_episode(opened.local(path), ROBOT, ObservationSpec.for_robot(ROBOT, 'pixels', ()))
    np.testing.assert_array_equal(data.actions[:-1], data.joints[1:])


def test_a_pause_in_the_commands_is_a_gap(tmp_path, mapped):
    quiet = (BEGIN + 10 * PERIOD, BEGIN + 35 * PERIOD)
    bag = write_bag(tmp_path / 'bag', StoragePlugin.MCAP, drop=lambda topic, stamp: (
        topic == '/controller/commands' and quiet[0] <= stamp < quiet[1]))
    import_demonstrations(bag, str(tmp_path / 'store'), ROBOT_FILE, 'place', mapping_file=mapped())
    opened = FolderStore(tmp_path / 'store')
    (path,) = list_episodes(opened)
    spec = ObservationSpec.for_robot(ROBOT, 'pixels', ('head',))
    data = read_episode(opened.local(path), ROBOT, spec)
    assert data.gaps.sum() == 1 and len(data) < 50


@pytest.mark.parametrize(('changes', 'text'), [
    ({'joint_states': '/nope'}, "has no topic '/nope', it has .*/arm/joint_states"),
    ({'joints': {}}, 'for joint .*name it under `joints`'),
    ({'joint_states': '/imu'},
     'has type sensor_msgs/msg/Imu, must have sensor_msgs/msg/JointState'),
    ({'cameras': {'head': '/imu'}}, 'must have sensor_msgs/msg/CompressedImage or'),
    ({'cameras': {'tail': '/x'}}, "cameras: 'tail' is not of robot"),
    ({'colour': 1}, "unknown key 'colour', keys are joint_states"),
    ({'scale': {ROBOT.joint_names[0]: 57.3}}, 'its limits are .*give `scale` and `offset`'),
])
def test_what_does_not_fit_is_refused_by_name(tmp_path, mapped, changes, text):
    bag = write_bag(tmp_path / 'bag', StoragePlugin.MCAP, ticks=20)
    with pytest.raises(ExchangeError, match=text):
        import_demonstrations(bag, str(tmp_path / 'store'), ROBOT_FILE, 'place',
                              mapping_file=mapped(**changes))
    assert list_episodes(FolderStore(tmp_path / 'store')) == []


@pytest.mark.parametrize('spoil', ['nothing', 'empty', 'picture', 'cut'])
def test_what_is_no_bag_is_refused_in_one_line(tmp_path, mapped, spoil):
    bag = write_bag(tmp_path / 'bag', StoragePlugin.MCAP, ticks=20)
    file = next(bag.glob('*.mcap'))
    if spoil == 'nothing':
        bag = tmp_path / 'nowhere'
    elif spoil == 'empty':
        file.write_bytes(b'')
    elif spoil == 'picture':
        file.write_bytes(jpeg('head', 0))
    else:
        file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ExchangeError) as error:
        import_demonstrations(bag, str(tmp_path / 'store'), ROBOT_FILE, 'place',
                              mapping_file=mapped())
    assert str(bag) in str(error.value) and '\n' not in str(error.value)


def test_units_are_brought_to_ours():
    joint = ROBOT.joint_names[0]
    mapping = Mapping(scale={joint: 2.0}, offset={joint: 0.5})
    vector = mapping.vector(ROBOT, ROBOT.joint_names, [0.1] * len(ROBOT.joint_names), 'here')
    assert vector[0] == pytest.approx(0.7) and vector[1] == pytest.approx(0.1)
    assert (ROOT / 'config').is_dir()

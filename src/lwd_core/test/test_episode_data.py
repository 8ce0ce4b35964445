# SPDX-License-Identifier: Apache-2.0
"""What the learner trains on is what the robot saw and did, or a refusal with its reason."""

from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest

from lwd_core.episode import EpisodeError, EpisodeMeta, list_episodes, read_episode, read_meta
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.synthetic import joints_at, Recipe, START_NS, write_episode
from lwd_core.observation import ObservationAssembler, ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore

ROOT = Path(__file__).resolve().parents[3]
ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')
STATE = ObservationSpec.for_robot(ROBOT, 'state')
PIXELS = ObservationSpec.for_robot(ROBOT, 'pixels')
PERIOD = ROBOT.period_ns


@pytest.fixture(scope='module')
def definitions():
    return Definitions([ROOT / 'src/lwd_msgs'])


@pytest.fixture
def make(tmp_path, definitions):
    def make(robot=ROBOT, **recipe):
        write_episode(tmp_path / 'ep', robot, Recipe(**{'ticks': 30, **recipe}), definitions)
        return tmp_path / 'ep'
    return make


def noise_jpeg(camera, tick):
    import cv2
    rng = np.random.default_rng(abs(hash((camera, tick))) % 2**32)
    return cv2.imencode('.jpg', rng.integers(0, 256, (96, 96, 3), np.uint8))[1].tobytes()


def change(topic, edit):
    """Return a recipe's `edit` that applies to one topic."""
    def apply(name, message):
        return edit(message) if name == topic else message
    return apply


def tick_of(message):
    stamp = message.header.stamp
    return (stamp.sec * 10**9 + stamp.nanosec - START_NS) // PERIOD


def test_ticks_are_the_executed_actions_of_running(make):
    data = read_episode(make(human=(10, 20)), ROBOT, STATE, tasks={'place'})
    assert len(data) == 30 and data.success and data.terminal and data.outcome == 'success'
    np.testing.assert_array_equal(data.ticks_ns, START_NS + PERIOD * np.arange(30))
    assert list(data.source) == [1] * 10 + [2] * 10 + [1] * 10
    assert data.chunk_id[0] == 1 and data.chunk_id[15] == 0 and data.chunk_index[9] == 1
    assert not data.gaps.any() and data.dropped == data.substituted == 0
    recipe = Recipe()
    expected = np.stack([joints_at(ROBOT, recipe, t) for t in range(31)]).astype(np.float32)
    np.testing.assert_array_equal(data.joints, expected[:30])
    np.testing.assert_array_equal(data.actions, expected[1:])
    assert data.state.shape == (30, len(ROBOT.state_names)) and data.state.dtype == np.float32


def test_a_hole_in_the_recording_is_a_gap(make):
    data = read_episode(make(gap=(12, 14)), ROBOT, STATE)
    assert len(data) == 28
    assert list(np.flatnonzero(data.gaps)) == [11]


def test_a_failure_is_terminal_and_no_success(make):
    data = read_episode(make(outcome='failure'), ROBOT, STATE)
    assert data.terminal and not data.success


def test_frames_are_read_when_asked_for(make):
    data = read_episode(make(jpeg=noise_jpeg, ticks=4), ROBOT, PIXELS)
    assert data.cameras == ROBOT.camera_names and data.state is None
    for t in range(4):
        assert data.frame('left_wrist', t) == noise_jpeg('left_wrist', t)
    assert data.observation(2).images['head'].shape == (96, 96, 3)
    np.testing.assert_array_equal(data.frame_stamps('head'), data.ticks_ns)


def test_the_samples_joined_live_are_joined_again(make):
    # The joint state of tick 8 came late: live, the chunk of tick 8 was planned with tick 7's.
    def older(chunk):
        if tick_of(chunk) == 8:
            stamp = chunk.observation_stamps[0]
            chunk.observation_stamps[0] = replace(stamp, nanosec=stamp.nanosec - PERIOD)
        return chunk

    data = read_episode(make(edit=change('policy/chunk', older)), ROBOT, STATE)
    assert data.sources[8]['joint_states'] == data.ticks_ns[7]
    np.testing.assert_array_equal(data.joints[8], data.joints[7])
    assert data.sources[9]['joint_states'] == data.ticks_ns[9] and data.substituted == 0


def test_a_recorded_sample_that_was_lost_is_replaced_and_counted(make):
    lost = change('joint_states', lambda m: None if tick_of(m) == 8 else m)
    data = read_episode(make(edit=lost), ROBOT, STATE)
    assert data.substituted == 1 and data.sources[8]['joint_states'] == data.ticks_ns[7]


def test_ticks_without_a_fresh_observation_are_dropped_and_leave_a_gap(make):
    silent = change('joint_states', lambda m: None if 5 <= tick_of(m) < 20 else m)
    data = read_episode(make(edit=silent), ROBOT, STATE)
    assert data.dropped == 13 and len(data) == 17  # 0.1 s may be bridged: two periods
    assert data.gaps.sum() == 1


def test_observations_from_the_bag_are_bit_identical_to_live(make):
    """Feed an assembler as the policy node does, tick by tick, then read the bag."""
    folder = make(jpeg=noise_jpeg, ticks=12)
    from lwd_core.episode import EpisodeBagReader
    from lwd_core.episode.reader import stamp_ns
    data = read_episode(folder, ROBOT, PIXELS)
    live, seen = ObservationAssembler(PIXELS), {}
    for topic, _, message in EpisodeBagReader(folder / data.meta.bag['file']).messages():
        name = topic.removeprefix('/sim/')
        if name == 'joint_states':
            live.add_joints(stamp_ns(message.header.stamp), message.name, message.position)
        elif name.startswith('camera/'):
            live.add_image(name.split('/')[1], stamp_ns(message.header.stamp),
                           message.data.tobytes())
        elif name == 'executed_action' and message.source:
            stamp = stamp_ns(message.header.stamp)
            seen[stamp] = live.at(stamp, data.instruction)
    assert len(seen) == len(data) == 12
    for t, stamp in enumerate(data.ticks_ns):
        replayed, was = data.observation(t), seen[int(stamp)]
        np.testing.assert_array_equal(replayed.joints, was.joints)
        assert replayed.sources == was.sources
        for camera in PIXELS.cameras:
            np.testing.assert_array_equal(replayed.images[camera], was.images[camera])


def test_samples_out_of_order_or_twice_change_nothing(make, definitions, tmp_path):
    """Cameras that arrive late and twice are joined by stamp, not by arrival."""
    from lwd_core.episode import EpisodeBagReader
    from lwd_core.episode.writer import EpisodeBagWriter
    from lwd_core.hashing import sha256_file
    folder = make(jpeg=noise_jpeg, ticks=6)
    before = read_episode(folder, ROBOT, PIXELS)
    reader = EpisodeBagReader(folder / before.meta.bag['file'])
    messages = reader.raw()
    cameras = [m for m in messages if 'camera' in reader.topic_of(m)]
    writer = EpisodeBagWriter(tmp_path / 'shuffled', 'ep-0001', definitions)
    for topic, spec in reader.specs().items():
        writer.add_topic(spec, topic)
    for message in [m for m in messages if m not in cameras] + cameras[::-1] + cameras:
        writer.write(reader.topic_of(message), bytes(message.data), message.log_ns)
    bag = writer.close()
    replace(before.meta, bag={'file': bag.path.name, 'bytes': bag.bytes,
                              'sha256': sha256_file(bag.path)}).write(bag.path.parent)
    after = read_episode(bag.path.parent, ROBOT, PIXELS)
    assert after.sources == before.sources
    for t in range(6):
        assert after.frame('head', t) == before.frame('head', t)


def spoil(message, field, value):
    getattr(message, field)[3] = value
    return message


REFUSED = [
    ('no_outcome', dict(outcome='unlabelled'), 'has no outcome'),
    ('discarded', dict(outcome='discarded'), 'was discarded'),
    ('unknown_task', dict(task='juggle'), "'juggle' is unknown, known are crate, place"),
    ('no_frames', dict(edit=change('executed_action', lambda m: None)), '0 ticks'),
    ('no_frames', dict(edit=change('joint_states', lambda m: None)), 'no sample yet'),
    ('truncated', dict(gap=(15, 30)), '0.60 s before the end'),
    ('nan', dict(edit=change('executed_action', lambda m: spoil(m, 'sent', np.nan))),
     'left/forearm_roll is not finite'),
    ('nan', dict(edit=change('joint_states', lambda m: spoil(m, 'position', np.inf))), 'finite'),
    ('other_robot', dict(edit=change('joint_states', lambda m: replace(
        m, name=[n.replace('jaw', 'hand') for n in m.name]))), 'lacks left/jaw'),
    ('other_robot', dict(edit=change('executed_action', lambda m: replace(
        m, joint_names=m.joint_names[::-1]))), 'must have'),
]


@pytest.mark.parametrize('reason, recipe, text', REFUSED)
def test_a_bad_episode_is_refused_with_the_reason(make, reason, recipe, text):
    with pytest.raises(EpisodeError, match=text) as error:
        read_episode(make(**recipe), ROBOT, STATE, tasks={'place', 'crate'})
    assert error.value.reason == reason


def test_a_clock_that_jumped_back_is_refused(make):
    def back(message):
        if tick_of(message) == 15:
            message = replace(message, header=replace(message.header, stamp=replace(
                message.header.stamp, sec=1, nanosec=PERIOD)))
        return message
    with pytest.raises(EpisodeError, match='jumped back') as error:
        read_episode(make(edit=change('executed_action', back)), ROBOT, STATE)
    assert error.value.reason == 'clock'


def test_an_episode_of_another_robot_is_refused_naming_the_difference(make):
    other = ROBOT.to_dict()
    other['control_rate'] = 50.0
    with pytest.raises(EpisodeError, match='differ in control_rate') as error:
        read_episode(make(), RobotSpec.from_dict(other), STATE)
    assert error.value.reason == 'other_robot'


def test_a_changed_or_cut_or_missing_bag_is_refused(make):
    folder = make()
    bag = folder / 'ep-0001_0.mcap'
    data = bag.read_bytes()
    for content, reason in ((data[:-1], 'truncated'), (b'', 'truncated'),
                            (data[:-1] + b'x', 'damaged')):
        bag.write_bytes(content)
        with pytest.raises(EpisodeError) as error:
            read_episode(folder, ROBOT, STATE)
        assert error.value.reason == reason
    bag.unlink()
    with pytest.raises(EpisodeError, match='is not there'):
        read_episode(folder, ROBOT, STATE)


@pytest.mark.parametrize('change_meta, text', [
    (dict(outcome='maybe'), "outcome is 'maybe', must be one of unlabelled, success"),
    (dict(schema_version=7), 'schema_version is 7'),
    (dict(started_ns='x'), 'started_ns is .* wrong type'),
    (dict(id='../x'), 'id is'),
    (dict(colour='red'), "unknown field 'colour'"),
    (dict(bag={'file': '../../etc/passwd'}), 'is not there'),
])
def test_a_bad_episode_json_is_refused(make, change_meta, text):
    folder = make()
    path = folder / 'episode.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **change_meta}))
    with pytest.raises(EpisodeError, match=text):
        read_episode(folder, ROBOT, STATE)


def test_an_episode_exists_when_its_meta_is_there(make, tmp_path):
    folder = make()
    store = FolderStore(tmp_path / 'store')
    meta = EpisodeMeta.read(folder)
    assert meta.store_path == 'episodes/sim/2026-01-01/ep-0001'
    (store.path / 'episodes/sim/2026-01-01/half').mkdir(parents=True)
    store.put_dir(folder, meta.store_path, 'episode.json', move=True)
    assert list_episodes(store) == [meta.store_path] == list_episodes(store, 'sim')
    assert read_meta(store, meta.store_path) == meta
    assert len(read_episode(store.local(meta.store_path), ROBOT, STATE)) == 30
    with pytest.raises(EpisodeError, match='not a file'):
        read_meta(store, 'episodes/sim/2026-01-01/half')


def test_raw_cameras_are_observed_as_compressed_ones_are(tmp_path, definitions):
    from lwd_core import topics
    from lwd_core.episode import EpisodeBagReader
    from lwd_core.episode.synthetic import Messages
    from lwd_core.episode.writer import EpisodeBagWriter
    folder = tmp_path / 'ep'
    write_episode(folder, ROBOT, Recipe(ticks=10, jpeg=noise_jpeg), definitions)
    reader, messages = EpisodeBagReader(folder / 'ep-0001_0.mcap'), Messages(definitions)
    raws = reader.raw()
    head, raw = '/sim/camera/head/image/compressed', topics.camera_raw('head')
    writer = EpisodeBagWriter(folder / 'new', 'ep-0001', definitions)
    for topic, spec in reader.specs().items():
        writer.add_topic(raw if topic == head else spec,
                         '/sim/' + raw.name if topic == head else topic)
    expected = {}
    for one in raws:
        topic, data = reader.topic_of(one), bytes(one.data)
        if topic == head:
            message = reader.decode(one)
            image = np.full((96, 96, 3), len(expected) * 7, np.uint8)
            image[0, 0] = (1, 2, 3)
            expected[message.header.stamp.nanosec] = image
            topic, data = '/sim/' + raw.name, messages.serialize(messages.make(
                raw.type, header=message.header, width=96, height=96, encoding='rgb8', step=288,
                data=image.reshape(-1)))
        writer.write(topic, data, one.log_ns)
    bag = writer.close()
    bag.path.replace(folder / 'ep-0001_0.mcap')
    path = folder / 'episode.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'bag': {
        'file': 'ep-0001_0.mcap', 'sha256': bag.sha256, 'bytes': bag.bytes}}))
    data = read_episode(folder, ROBOT, PIXELS)
    assert len(data) == 10
    for t in range(10):
        seen = data.observation(t).images['head']
        np.testing.assert_array_equal(seen, expected[int(data.ticks_ns[t]) % 10**9])
    assert data.frame('head', 3)[:2] == b'\xff\xd8'  # JPEG

# SPDX-License-Identifier: Apache-2.0
"""Each thing that goes wrong with recordings is named, and weighed: use, warn or quarantine."""

from dataclasses import replace
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lwd_core.episode import EpisodeError, read_episode
from lwd_core.episode.audit import QUARANTINE, USE, WARN
from lwd_core.episode.bag import timing
from lwd_core.episode.data import audit_folder
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.synthetic import Messages, Recipe, START_NS, write_episode
from lwd_core.episode.writer import EpisodeBagWriter
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_core.topics import TopicSpec

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
    def make(**recipe):
        write_episode(tmp_path / 'ep', ROBOT, Recipe(**{'ticks': 60, **recipe}), definitions)
        return tmp_path / 'ep'
    return make


def grey(level):
    image = np.full((96, 96, 3), level, np.uint8)
    return cv2.imencode('.jpg', image)[1].tobytes()


def seen(camera, tick):
    return grey(60 + tick % 90)


def tick_of(message):
    stamp = message.header.stamp
    return (stamp.sec * 10**9 + stamp.nanosec - START_NS) // PERIOD


def only(topic, edit):
    return lambda name, message: edit(message) if name == topic else message


def restamped(message, stamp_ns):
    stamp = replace(message.header.stamp, sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return replace(message, header=replace(message.header, stamp=stamp))


def frozen_joints(message):
    message.position[:] = 0.5
    return message


def one_frozen_joint(message):
    message.position[3] = 0.5
    return message


def clamped(message):
    return replace(message, clamped=2)


def swapped(message):
    """Ticks 20 and 21 come in each other's place."""
    tick = tick_of(message)
    return restamped(message, START_NS + PERIOD * {20: 21, 21: 20}.get(tick, tick))


def repeated(message):
    """Tick 20 comes twice, tick 21 never."""
    tick = tick_of(message)
    return restamped(message, START_NS + PERIOD * {21: 20}.get(tick, tick))


CASES = {
    'nothing': (dict(), STATE, USE, ''),
    'gaps': (dict(gap=(20, 30)), STATE, WARN, '1 gaps between ticks, the longest 0.44 s'),
    'no outcome': (dict(outcome='unlabelled'), STATE, QUARANTINE, 'has no outcome: label it'),
    'frozen joints': (dict(edit=only('joint_states', frozen_joints)), STATE, QUARANTINE,
                      'frozen joints: .* never moved though told to'),
    'one frozen joint': (dict(edit=only('joint_states', one_frozen_joint)), STATE, WARN,
                         f'frozen joints: {ROBOT.joint_names[3]} never'),
    'saturation': (dict(edit=only('executed_action', clamped)), STATE, WARN,
                   'clamped 100% of the actions: saturated'),
    'invalid actions': (dict(edit=only('executed_action', lambda m: replace(
        m, clamped=8 if tick_of(m) == 4 else 0))), STATE, WARN, '1 actions were invalid'),
    'rate': (dict(edit=only('joint_states', lambda m: None if tick_of(m) % 2 else m)), STATE,
             WARN, 'joint_states came at 12.5 Hz, nominal is 25 Hz'),
    'lost observations': (
        dict(edit=only('joint_states', lambda m: None if 5 <= tick_of(m) < 20 else m)), STATE,
        WARN, '13 ticks without an observation'),
    'most observations lost': (
        dict(edit=only('joint_states', lambda m: None if 8 <= tick_of(m) < 55 else m)), STATE,
        QUARANTINE, 'ticks without an observation'),
    'black camera': (dict(jpeg=lambda c, t: grey(0) if c == 'head' else seen(c, t)), PIXELS,
                     QUARANTINE, 'camera head: 8 of 8 frames looked at are black'),
    'camera black for a while': (
        dict(jpeg=lambda c, t: grey(0) if c == 'head' and t > 40 else seen(c, t)), PIXELS, WARN,
        'camera head: [23] of 8 frames looked at are black'),
    'frozen camera': (dict(jpeg=lambda c, t: grey(99) if c == 'head' else seen(c, t)), PIXELS,
                      QUARANTINE, 'camera head froze for 2.4 s while the robot moved'),
    'frozen camera nobody looks through': (
        dict(jpeg=lambda c, t: grey(99) if c == 'head' else seen(c, t)), STATE, WARN,
        'camera head froze'),
    'camera frozen for a while': (
        dict(jpeg=lambda c, t: seen(c, min(t, 20))), PIXELS, WARN, 'camera head froze for 1.6 s'),
    'damaged frames': (dict(jpeg=lambda c, t: b'no jpeg' if c == 'head' else seen(c, t)), STATE,
                       WARN, 'camera head: 8 of 8 frames looked at cannot be decoded'),
    'cameras out of order': (
        dict(jpeg=seen, edit=only('camera/head/image/compressed', swapped)), PIXELS, WARN,
        'camera/head/image/compressed: 1 samples came out of order; they were sorted'),
    'duplicate stamps': (
        dict(edit=only('joint_states', repeated)), STATE, WARN, '1 samples repeat a stamp'),
}


@pytest.mark.parametrize('case', CASES)
def test_what_is_wrong_is_named_and_weighed(make, case):
    recipe, spec, verdict, text = CASES[case]
    audit = audit_folder(make(**recipe), ROBOT, spec)
    assert audit.verdict == verdict, audit.warnings
    if text:
        import re
        assert re.search(text, '\n'.join(audit.warnings)), audit.warnings
    else:
        assert audit.warnings == ()


def test_facts_are_numbers_that_json_can_hold(make):
    audit = audit_folder(make(human=(0, 30)), ROBOT, STATE)
    facts = json.loads(json.dumps(audit.to_dict(), allow_nan=False))['facts']
    assert facts['takeover_share'] == 0.5 and facts['ticks'] == 60
    assert facts['joint_states'] == {'count': 60, 'rate': pytest.approx(25.0), 'disordered': 0,
                                     'longest_gap': pytest.approx(0.04), 'duplicates': 0}


def test_an_episode_that_cannot_be_read_is_quarantined_with_the_reason(make):
    folder = make()
    bag = folder / 'ep-0001_0.mcap'
    bag.write_bytes(bag.read_bytes()[:-100])
    audit = audit_folder(folder, ROBOT, STATE)
    assert audit.verdict == QUARANTINE and 'bytes, must have' in audit.warnings[0]


def test_late_actions_of_a_wall_clock_robot_are_named(make):
    folder = make()
    path = folder / 'episode.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'clock': 'wall',
                                'bag': _rewritten(folder, 70_000_000)}))
    audit = audit_folder(folder, ROBOT, STATE)
    assert audit.verdict == WARN
    assert '100% of the actions came over half a period late, p99 70 ms' in audit.warnings[0]


def _rewritten(folder, delay_ns):
    """Write the same messages as received `delay_ns` later."""
    from lwd_core.episode.reader import EpisodeBagReader
    from lwd_core.episode.recover import _Definitions
    reader = EpisodeBagReader(folder / 'ep-0001_0.mcap')
    messages = reader.raw()
    writer = EpisodeBagWriter(folder / 'later', 'ep-0001', _Definitions(reader))
    for topic, spec in reader.specs().items():
        writer.add_topic(spec, topic)
    for one in messages:
        writer.write(reader.topic_of(one), bytes(one.data), one.log_ns + delay_ns)
    bag = writer.close()
    bag.path.replace(folder / 'ep-0001_0.mcap')
    return {'file': 'ep-0001_0.mcap', 'sha256': bag.sha256, 'bytes': bag.bytes}


def test_unknown_topics_are_skipped_and_named(tmp_path, make, definitions):
    folder = make()
    _add_topic(folder, definitions, TopicSpec('x', 'sensor_msgs/msg/Imu', 5), '/sim/imu')
    audit = audit_folder(folder, ROBOT, STATE)
    assert audit.warnings == ('/sim/imu (sensor_msgs/msg/Imu) is unknown and was skipped',)
    assert len(read_episode(folder, ROBOT, STATE)) == 60


def test_a_known_topic_of_another_type_is_refused(make, definitions):
    folder = make()
    _add_topic(folder, definitions, TopicSpec('x', 'std_msgs/msg/String', 5), '/sim/joy')
    with pytest.raises(EpisodeError, match='/sim/joy has type std_msgs/msg/String, must have '
                                           'sensor_msgs/msg/Joy') as error:
        read_episode(folder, ROBOT, STATE)
    assert error.value.reason == 'other_type'


def _add_topic(folder, definitions, spec, topic):
    from lwd_core.episode.reader import EpisodeBagReader
    reader = EpisodeBagReader(folder / 'ep-0001_0.mcap')
    messages = reader.raw()
    specs = {**reader.specs(), topic: spec}
    writer = EpisodeBagWriter(folder / 'more', 'ep-0001', definitions)
    for name, one in specs.items():
        if name != topic or topic not in reader.topics:
            writer.add_topic(one, name)
        else:
            writer.add_topic(spec, name)
    for one in messages:
        writer.write(reader.topic_of(one), bytes(one.data), one.log_ns)
    make = Messages(definitions)
    writer.write(topic, make.serialize(make.make(spec.type)), messages[-1].log_ns)
    bag = writer.close()
    bag.path.replace(folder / 'ep-0001_0.mcap')
    path = folder / 'episode.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'bag': {
        'file': 'ep-0001_0.mcap', 'sha256': bag.sha256, 'bytes': bag.bytes}}))


def test_timing_of_stamps():
    run = timing(np.array([0, 10, 10, 30, 20], np.int64) * 10**8)
    assert (run.count, run.disordered, run.duplicates) == (5, 1, 1)
    assert run.rate == pytest.approx(1.0) and run.longest_gap == pytest.approx(1.0)
    assert np.isnan(timing(np.zeros(1, np.int64)).rate)

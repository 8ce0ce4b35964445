# SPDX-License-Identifier: Apache-2.0
"""What is read straight from bytes is what a decoder reads."""

from pathlib import Path

import numpy as np
import pytest

from lwd_core.episode import cdr, EpisodeError
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.synthetic import Messages

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope='module')
def messages():
    return Messages(Definitions([ROOT / 'src/lwd_msgs']))


def test_the_hashes_are_those_of_todays_definitions(messages):
    for name, rihs in (cdr.JOINT_STATE, cdr.EXECUTED_ACTION):
        assert messages.definitions.get(name).rihs == rihs


@pytest.mark.parametrize('names', [['a'], ['ab', 'c', 'defgh'], []])
@pytest.mark.parametrize('frame', ['', 'x', 'base_link'])
def test_joint_states_are_read_as_a_decoder_reads_them(messages, names, frame):
    position = np.arange(len(names)) / 3
    data = messages.serialize(messages.make(
        cdr.JOINT_STATE[0], header=messages.header(7, frame), name=names, position=position))
    found = cdr.joint_state(memoryview(data))
    assert found[0] == names
    np.testing.assert_array_equal(found[1], position)


@pytest.mark.parametrize('requested', [0, 3])
@pytest.mark.parametrize('frame', ['', 'abc'])
def test_executed_actions_are_read_as_a_decoder_reads_them(messages, requested, frame):
    message = messages.make(
        cdr.EXECUTED_ACTION[0], header=messages.header(5 * 10**9 + 17, frame), source=2,
        epoch=70000, tick=2**40, joint_names=['left', 'b', 'right_jaw'],
        requested=np.arange(requested) / 7,
        sent=np.arange(3) / 9, clamped=6, chunk_id=2**50 + 1, chunk_index=65535)
    found = cdr.executed_action(memoryview(messages.serialize(message)))
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (5, 17)
    for name in ('source', 'epoch', 'tick', 'joint_names', 'clamped', 'chunk_id', 'chunk_index'):
        assert getattr(found, name) == getattr(message, name), name
    np.testing.assert_array_equal(found.requested, message.requested)
    np.testing.assert_array_equal(found.sent, message.sent)


@pytest.mark.parametrize('keep', [5, 14, 20, 40, -9])
def test_a_cut_message_is_damaged(messages, keep):
    joints = messages.serialize(messages.make(
        cdr.JOINT_STATE[0], header=messages.header(7), name=['abc', 'd'], position=np.zeros(2)))
    action = messages.serialize(messages.make(
        cdr.EXECUTED_ACTION[0], header=messages.header(7), joint_names=['abc'],
        sent=np.zeros(1), requested=np.zeros(1)))
    for read, data in ((cdr.joint_state, joints[:60]), (cdr.executed_action, action)):
        with pytest.raises(EpisodeError, match='is cut'):
            read(memoryview(data)[:keep])


def action(messages, tick, *, frame='', requested=3, names=('left', 'b', 'right_jaw'), source=1):
    return messages.serialize(messages.make(
        cdr.EXECUTED_ACTION[0], header=messages.header(tick * 10**7, frame), source=source,
        epoch=tick + 3, tick=tick, joint_names=list(names), requested=np.arange(requested) + tick,
        sent=np.arange(3) / (tick + 1), clamped=tick % 5, chunk_id=2**50 + tick,
        chunk_index=tick % 7))


def test_actions_read_together_are_those_read_one_by_one(messages):
    """Of several lengths, mixed; and of one length where the names differ."""
    data = [action(messages, tick, requested=0 if tick % 4 == 3 else 3) for tick in range(40)]
    data += [action(messages, tick, frame='abc', names=('lefT', 'b', 'right_jaw'))
             for tick in range(40, 52)]
    data[45] = action(messages, 45, frame='abc', names=('left', 'c', 'right_jaw'))
    views = [memoryview(one) for one in data]
    for found, view in zip(cdr.executed_actions(views), views):
        wanted = cdr.executed_action(view)
        for name, value in wanted._asdict().items():
            np.testing.assert_array_equal(getattr(found, name), value, name)
    assert cdr.executed_actions([]) == []


def test_joint_states_read_together_are_those_read_one_by_one(messages):
    def joints(index, names):
        return memoryview(messages.serialize(messages.make(
            cdr.JOINT_STATE[0], header=messages.header(index, 'base'), name=names,
            position=np.arange(len(names)) / 3 + index, velocity=np.zeros(index % 2))))
    views = [joints(i, ['a', 'bc'] if i % 3 else ['bc', 'a']) for i in range(60)]
    views += [joints(i, ['a', 'bc']) for i in range(100, 120, 2)]
    for found, view in zip(cdr.joint_states(views), views):
        wanted = cdr.joint_state(view)
        assert found[0] == wanted[0]
        np.testing.assert_array_equal(found[1], wanted[1])


def test_one_cut_message_among_many_is_damaged(messages):
    data = [memoryview(action(messages, tick)) for tick in range(20)]
    data[7:17] = [view[:60] for view in data[7:17]]
    with pytest.raises(EpisodeError, match='an executed action is cut'):
        cdr.executed_actions(data)


def test_images_read_together_are_those_read_one_by_one(messages):
    def image(index, frame='head', form='jpeg'):
        return memoryview(messages.serialize(messages.make(
            'sensor_msgs/msg/CompressedImage', header=messages.header(index, frame), format=form,
            data=np.arange(index % 9, dtype=np.uint8))))
    views = [image(i) for i in range(12)] + [image(3, 'hand'), image(4), image(5, form='png')]
    assert cdr.images_bytes(views) == [cdr.image_bytes(view) for view in views]
    views[6] = views[6][:-2]
    with pytest.raises(EpisodeError, match='compressed image'):
        cdr.images_bytes(views)

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

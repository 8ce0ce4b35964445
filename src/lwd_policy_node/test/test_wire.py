# SPDX-License-Identifier: Apache-2.0
import os

import numpy as np
import pytest

from lwd_core.images import encode_jpeg
from lwd_core.observation import (
    Observation,
    ObservationAssembler,
    ObservationError,
    ObservationSpec,
)
from lwd_policy_node.arena import Arena, LARGE, SLOT_BYTES, SLOTS
from lwd_policy_node.wire import decode, encode, Frame
from lwd_policy_node.worker import act_frame, observation_of


def test_a_frame_comes_back_equal():
    arrays = {'a': np.arange(6, dtype=np.float32).reshape(2, 3), 'b': np.zeros((4, 5, 3), np.uint8),
              'empty': np.zeros((0, 3), np.float64)}
    back = decode(encode(Frame('kind', {'x': 1, 'y': 'z', 'n': None}, arrays)))
    assert back.kind == 'kind' and back.fields == {'x': 1, 'y': 'z', 'n': None}
    for name, array in arrays.items():
        assert back.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(back.arrays[name], array)


@pytest.mark.parametrize('state', [None, np.array([1.0, 2.0], np.float32)])
def test_an_observation_crosses_bit_for_bit(state):
    images = {'head': np.random.default_rng(0).integers(0, 255, (6, 8, 3)).astype(np.uint8)}
    before = Observation(123456789012345678, np.array([0.1, 1e-30], np.float32), images, state,
                         'lift it', {'joint_states': 123456789012345677})
    frame = decode(encode(act_frame(7, 'd' * 64, 2**63 - 1, before)))
    after = observation_of(frame)
    assert frame.fields['seed'] == 2**63 - 1
    assert (after.stamp_ns, after.instruction, after.sources) == (
        before.stamp_ns, before.instruction, before.sources)
    assert after.joints.tobytes() == before.joints.tobytes()
    assert after.images['head'].tobytes() == images['head'].tobytes()
    assert after.state is None if state is None else after.state.tobytes() == state.tobytes()


def test_large_arrays_cross_in_shared_memory_and_the_frame_holds_only_where():
    node = Arena()
    worker = Arena(os.dup(node.fd))
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    frame = Frame('act', {'id': 3}, {'image/head': image, 'joints': np.ones(3, np.float32)})
    data = encode(frame, node.put(3, frame.arrays))
    assert len(data) < 1000
    back = decode(data, worker.view)
    np.testing.assert_array_equal(back.arrays['image/head'], image)
    assert back.arrays['joints'].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match='image/head is in shared memory'):
        decode(data)


def test_a_slot_is_not_written_again_before_its_request_was_answered():
    arena = Arena()
    arrays = [np.full(LARGE, value, np.uint8) for value in range(SLOTS + 1)]
    places = [arena.put(i, {'a': array}) for i, array in enumerate(arrays)]
    assert all(places[:SLOTS]) and places[SLOTS] == {}  # no slot: it travels with the frame
    for array, place in zip(arrays, places[:SLOTS]):
        np.testing.assert_array_equal(arena.view(place['a']), array)
    arena.release(1)
    assert arena.put(9, {'a': arrays[4]})['a'][0] == places[1]['a'][0]
    arena.release(1)
    assert arena.free == 0
    arena.release_all()
    assert arena.free == SLOTS


def test_small_arrays_and_those_too_large_for_a_slot_travel_with_the_frame():
    arena = Arena()
    assert arena.put(1, {'joints': np.zeros(14, np.float32)}) == {} and arena.free == SLOTS
    huge = np.zeros(SLOT_BYTES + 1, np.uint8)
    assert set(arena.put(2, {'huge': huge, 'image': np.zeros(LARGE, np.uint8)})) == {'image'}


def test_a_jpeg_is_decoded_by_the_worker_to_what_the_node_would_have_seen():
    spec = ObservationSpec(('a',), cameras=('head',), image_size=(8, 6))
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    seen = []
    for decode_here in (True, False):
        assembler = ObservationAssembler(spec)
        assembler.add_joints(5, ('a',), (0.5,))
        assembler.add_image('head', 5, encode_jpeg(pixels))
        observation = assembler.at(5, 'go', decode=decode_here)
        size = None if decode_here else spec.image_size
        seen.append(observation_of(decode(encode(
            act_frame(1, 'd', 1, observation, image_size=size)))))
    assert seen[0].images['head'].shape == (6, 8, 3)
    np.testing.assert_array_equal(seen[0].images['head'], seen[1].images['head'])


def test_a_broken_jpeg_fails_in_the_worker_with_the_cameras_name():
    broken = Observation(1, np.zeros(1, np.float32), {'head': np.zeros(9, np.uint8)}, None, '', {})
    frame = decode(encode(act_frame(1, 'd', 1, broken, image_size=(8, 6))))
    with pytest.raises(ObservationError, match='camera/head: .* neither JPEG nor PNG'):
        observation_of(frame)

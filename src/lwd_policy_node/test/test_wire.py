# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from lwd_core.observation import Observation
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

# SPDX-License-Identifier: Apache-2.0
"""The frozen vision trunk: what it refuses, and that it travels inside a checkpoint."""

import json

import numpy as np
import pytest
import torch

from lwd_core.flow import make_policy
from lwd_core.flow.bundle import pack, unpack, unpack_acting
from lwd_core.flow.trunk import (
    build_trunk,
    KeypointEncoder,
    KeypointTrunk,
    load_trunk,
    save_trunk,
    TrunkConfig,
    TrunkError,
)
from lwd_core.normalization import Normalizer
from lwd_core.observation import Observation

CAMERAS = ('head', 'left_wrist', 'right_wrist')
CONFIG = TrunkConfig(('x', 'y'), image_size=16, joint_dim=3, channels=4, hidden=8)


def images(seed=0, side=16):
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for name in CAMERAS}


def trunk():
    torch.manual_seed(0)
    return KeypointTrunk(CONFIG).eval().requires_grad_(False)


def test_features_come_in_the_units_of_the_training_data():
    made = trunk()
    joints = np.zeros(3, np.float32)
    before = made.features(images(), joints)
    made.output_mean.copy_(torch.tensor([10., 20.]))
    made.output_std.copy_(torch.tensor([2., 3.]))
    assert np.allclose(made.features(images(), joints), before * [2, 3] + [10, 20], atol=1e-5)


def test_a_batch_gives_what_single_frames_give():
    made, joints = trunk(), np.ones((2, 3), np.float32)
    both = made.features_batch([images(1), images(2)], joints)
    assert np.allclose(both[1], made.features(images(2), joints[1]), atol=1e-6)
    assert not np.allclose(both[0], both[1])


def test_a_keypoint_follows_what_it_sees():
    torch.manual_seed(0)
    encoder = KeypointEncoder(2, 32)
    with torch.no_grad():
        for layer in encoder.layers:
            if hasattr(layer, 'weight'):
                layer.weight.fill_(0.05)
                layer.bias.zero_()
        spots = torch.zeros(2, 3, 32, 32)
        spots[0, :, 4:8, 4:8] = 20.0
        spots[1, :, 24:28, 24:28] = 20.0
        x, y = encoder(spots)[:, 0], encoder(spots)[:, 2]
    assert x[0] < -0.2 < 0.2 < x[1] and y[0] < -0.2 < 0.2 < y[1]


@pytest.mark.parametrize('frame, words', [
    ({'head': np.zeros((16, 16, 3), np.uint8)}, 'left_wrist'),
    (images(side=8), 'must be \\(16, 16, 3\\)')])
def test_a_missing_or_misshapen_image_is_named(frame, words):
    with pytest.raises(TrunkError, match=words):
        trunk().features(frame, np.zeros(3, np.float32))


def test_a_file_that_is_no_trunk_is_named(tmp_path):
    (tmp_path / 'x.safetensors').write_bytes(b'nothing')
    for name in ('x', 'absent'):
        with pytest.raises(TrunkError, match=f'{name}.safetensors'):
            load_trunk(tmp_path / f'{name}.safetensors')


def test_save_and_load_keep_the_features_to_half_precision(tmp_path):
    made = trunk()
    save_trunk(made, tmp_path / 't.safetensors')
    read = load_trunk(tmp_path / 't.safetensors')
    joints = np.ones(3, np.float32)
    assert np.allclose(read.features(images(), joints), made.features(images(), joints), atol=1e-2)


def policy():
    norms = {'joints': Normalizer.identity(3), 'features': Normalizer.identity(2),
             'action': Normalizer.identity(3)}
    return make_policy({'horizon': 4, 'action_dim': 3, 'joint_dim': 3, 'feature_dim': 2,
                        'hidden': 8, 'layers': 2, 'instruction_dim': 8}, norms)


def test_a_checkpoint_carries_the_trunk_that_its_policy_sees_through():
    made, seeing = policy(), trunk()
    config, tensors = pack(made, seeing)
    config = json.loads(json.dumps(config))
    acting = unpack_acting(config, made.normalization(), tensors)
    seen = Observation(0, np.ones(3, np.float32), images(), None, 'go', {})
    assert acting.act(seen, 3).shape == (4, 3)
    assert np.array_equal(acting.trunk.features(images(), seen.joints),
                          seeing.features(images(), seen.joints))


def test_a_policy_without_the_trunk_it_needs_is_refused():
    made = policy()
    config, tensors = pack(made, None)
    with pytest.raises(ValueError, match='no vision trunk'):
        unpack(config, made.normalization(), tensors)


def test_configuration_errors_name_the_value():
    with pytest.raises(TrunkError, match='17'):
        TrunkConfig(('x',), image_size=17)
    with pytest.raises(TypeError):
        build_trunk({'outputs': ['x'], 'colour': 1})

# SPDX-License-Identifier: Apache-2.0
"""Behaviour of normalisation, instruction vectors and flow policies."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lwd_core.flow import ActingPolicy, make_policy, observation_to_batch, ResidualFlow
from lwd_core.flow.sampler import euler
from lwd_core.instruction import embed
from lwd_core.normalization import NormalizationError, Normalizer, STD_FLOOR

CONFIG = {'horizon': 4, 'action_dim': 3, 'joint_dim': 3, 'state_dim': 5, 'hidden': 32}


def norms(state: int = 5) -> dict[str, Normalizer]:
    rng = np.random.default_rng(0)
    return {'joints': Normalizer.from_data(rng.normal(size=(50, 3))),
            'state': Normalizer.from_data(rng.normal(size=(50, state))),
            'action': Normalizer.from_data(rng.normal(2, 3, size=(50, 3)))}


def observation(**changes: object) -> SimpleNamespace:
    values = {'joints': np.ones(3, np.float32), 'state': np.zeros(5, np.float32), 'images': {},
              'instruction': 'lift the crate'}
    return SimpleNamespace(**{**values, **changes})


def make() -> object:
    torch.manual_seed(0)
    return make_policy(CONFIG, norms())


def test_normalisation_round_trips_in_numpy_and_torch_and_json():
    x = np.random.default_rng(1).normal(3, 2, size=(100, 4)).astype(np.float32)
    norm = Normalizer.from_json(json.loads(json.dumps(Normalizer.from_data(x).to_json())))
    assert norm == Normalizer.from_data(x)
    assert np.allclose(norm.normalize(x).mean(0), 0, atol=1e-5)
    assert np.allclose(norm.unnormalize(norm.normalize(x)), x, atol=1e-5)
    assert np.allclose(norm.normalize(torch.from_numpy(x)).numpy(), norm.normalize(x), atol=1e-6)


def test_constant_dimension_is_scaled_by_the_floor():
    assert Normalizer.from_data(np.full((10, 2), 7.0)).std == pytest.approx([STD_FLOOR] * 2)


def test_quantiles_map_to_unit_range():
    x = np.linspace(0, 1, 1001)[:, None]
    assert Normalizer.from_quantiles(x).normalize(np.array([[0.01], [0.99]])) == pytest.approx(
        np.array([[-1], [1]]), abs=1e-5)


@pytest.mark.parametrize('mean, std, words', [
    ([0.0], [0.0], 'must be > 0'), ([0.0, 1.0], [1.0], 'one length'), ([np.nan], [1.0], 'finite')])
def test_unusable_statistics_are_refused(mean, std, words):
    with pytest.raises(NormalizationError, match=words):
        Normalizer(np.array(mean), np.array(std))


def test_nan_in_data_names_the_row():
    with pytest.raises(NormalizationError, match='row 1'):
        Normalizer.from_data([[0.0], [np.nan]])


def test_instruction_vector_is_stable_and_tells_tasks_apart():
    a, b = embed('lift the crate with both arms'), embed('put the milk on the shelf')
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-6)
    assert a @ embed('Lift crate, with both arms!') == pytest.approx(1, abs=1e-6)
    assert abs(a @ b) < 0.5
    assert np.flatnonzero(embed('crate')).tolist() == np.flatnonzero(embed('crate')).tolist()
    assert not embed('').any()


def test_euler_integrates_a_linear_field():
    x = euler(lambda x, w: -x, torch.ones(2, 1), 1000)
    assert x == pytest.approx(np.exp(-1) * np.ones((2, 1)), abs=1e-3)


def test_acting_depends_on_seed_and_observation_only():
    acting = ActingPolicy(make())
    first = acting.act(observation(), 7)
    assert first.shape == (4, 3) and first.dtype == np.float32
    torch.manual_seed(123)
    assert np.array_equal(first, acting.act(observation(), 7))
    assert not np.array_equal(first, acting.act(observation(), 8))
    assert not np.array_equal(first, acting.act(observation(joints=np.zeros(3)), 7))


def test_policy_is_rebuilt_from_its_config_normalisation_and_weights():
    policy = make()
    other = make_policy(json.loads(json.dumps(policy.config())),
                        json.loads(json.dumps(policy.normalization())))
    other.load_state_dict(policy.state_dict())
    batch = observation_to_batch(observation(), policy)
    noise = torch.randn(1, 4, 3)
    assert torch.equal(policy.sample(policy.encode(batch), noise),
                       other.sample(other.encode(batch), noise))


def test_action_normalisation_is_inside():
    policy = make()
    action = torch.randn(2, 4, 3)
    assert torch.allclose(policy.unnormalize_action(policy.normalize_action(action)), action,
                          atol=1e-5)


@pytest.mark.parametrize('change, words', [
    ({'state': None}, "'state'"), ({'joints': np.zeros(2)}, "'joints'")])
def test_missing_or_misshapen_input_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        ActingPolicy(make()).act(observation(**change), 0)


def test_factory_names_what_it_cannot_build():
    with pytest.raises(ValueError, match='unknown keys'):
        make_policy({**CONFIG, 'colour': 1}, norms())
    with pytest.raises(ValueError, match='kind'):
        make_policy({**CONFIG, 'kind': 'x'}, norms())
    with pytest.raises(NormalizationError, match='state'):
        make_policy(CONFIG, norms(state=4))


def test_feature_mode_takes_cached_features():
    config = {**CONFIG, 'state_dim': 0, 'feature_dim': 6}
    policy = make_policy(config, {**norms(), 'features': Normalizer.identity(6)})
    trunk = SimpleNamespace(features=lambda images, joints: np.ones(6, np.float32))
    assert ActingPolicy(policy, trunk=trunk).act(observation(state=None), 0).shape == (4, 3)


def test_residual_policy_starts_as_its_base_and_is_rebuilt_from_its_config():
    base = make()
    residual = ResidualFlow.over(base, hidden=8, layers=2)
    batch, noise = observation_to_batch(observation(), base), torch.randn(1, 4, 3)
    expected = base.sample(base.encode(batch), noise)
    assert torch.equal(residual.sample(residual.encode(batch), noise), expected)
    torch.nn.init.normal_(residual.tilt.out.weight)
    tilted = residual.sample(residual.encode(batch), noise)
    assert not torch.equal(tilted, expected)
    other = make_policy(json.loads(json.dumps(residual.config())), residual.normalization())
    other.load_state_dict(residual.state_dict())
    assert torch.equal(other.sample(other.encode(batch), noise), tilted)

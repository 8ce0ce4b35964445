# SPDX-License-Identifier: Apache-2.0
"""The transformer action expert is a flow policy like the MLP, selected by `network`."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lwd_core.flow import ActingPolicy, FlowTransformer, make_policy, ResidualFlow
from lwd_core.normalization import Normalizer

CONFIG = {'network': 'transformer', 'horizon': 4, 'action_dim': 3, 'joint_dim': 3, 'state_dim': 5,
          'hidden': 16, 'layers': 2, 'heads': 2, 'prefix_tokens': 3}


def norms(action=3, joints=3, state=5):
    rng = np.random.default_rng(0)
    return {name: Normalizer.from_data(rng.normal(1, 2, size=(50, size)))
            for name, size in {'action': action, 'joints': joints, 'state': state}.items()}


def make(**changes):
    torch.manual_seed(0)
    return make_policy({**CONFIG, **changes}, norms())


def batch(rows=2):
    rng = torch.Generator().manual_seed(1)
    return {name: torch.randn(rows, size, generator=rng)
            for name, size in {'joints': 3, 'state': 5, 'instruction': 64}.items()}


def inputs(policy, rows=2):
    rng = torch.Generator().manual_seed(2)
    return (policy.encode(batch(rows)), torch.randn(rows, 4, 3, generator=rng),
            torch.rand(rows, generator=rng))


def test_it_is_chosen_by_network_and_acts_with_seed_and_observation():
    policy = make()
    assert isinstance(policy, FlowTransformer)
    seen = SimpleNamespace(joints=np.ones(3, np.float32), state=np.zeros(5, np.float32),
                           images={}, instruction='lift the crate')
    other = SimpleNamespace(**{**vars(seen), 'state': np.ones(5, np.float32)})
    acting = ActingPolicy(policy)
    chunk = acting.act(seen, 7)
    assert chunk.shape == (4, 3) and np.array_equal(chunk, acting.act(seen, 7))
    assert not np.array_equal(chunk, acting.act(seen, 8))
    assert not np.array_equal(chunk, acting.act(other, 7))


def test_rows_of_a_batch_do_not_mix():
    policy = make()
    prefix, x, w = inputs(policy)
    together = policy.velocity(prefix, x, w)
    apart = torch.cat([policy.velocity(prefix[i:i + 1], x[i:i + 1], w[i:i + 1])
                       for i in range(2)])
    assert torch.allclose(together, apart, atol=1e-6)


@pytest.mark.parametrize('what', ['prefix', 'x', 'w'])
def test_the_velocity_depends_on_every_argument(what):
    policy = make()
    arguments = dict(zip(('prefix', 'x', 'w'), inputs(policy)))
    before = policy.velocity(**arguments)
    arguments[what] = arguments[what] + 0.1 * torch.rand(arguments[what].shape)
    assert not torch.allclose(policy.velocity(**arguments), before, atol=1e-5)


def test_every_row_of_the_chunk_sees_every_other_and_knows_its_place():
    policy = make()
    prefix, x, w = inputs(policy, 1)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: policy.velocity(prefix, x, w)[0], x)[:, :, 0]  # [H, d, H, d]
    assert (jacobian.abs().amax((1, 3)) > 0).all()
    swapped = policy.velocity(prefix, x.flip(1), w).flip(1)
    assert not torch.allclose(swapped, policy.velocity(prefix, x, w), atol=1e-4)


def test_its_vjp_agrees_with_finite_differences():
    policy = make()
    prefix, x, w = (value.detach().double() for value in inputs(policy))
    policy, x = policy.double(), x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: policy.velocity(prefix, x, w), x)


def test_it_is_rebuilt_from_its_configuration_and_weights():
    policy = make()
    other = make_policy(json.loads(json.dumps(policy.config())), policy.normalization())
    other.load_state_dict(policy.state_dict())
    prefix, x, w = inputs(policy)
    assert torch.equal(other.velocity(prefix, x, w), policy.velocity(prefix, x, w))


def test_a_tilt_over_it_starts_at_zero_and_is_rebuilt():
    base = make()
    residual = ResidualFlow.over(base, hidden=8, layers=1)
    x, w = inputs(base)[1:]
    expected = base.velocity(base.encode(batch()), x, w)
    assert torch.equal(residual.velocity(residual.encode(batch()), x, w), expected)
    torch.nn.init.normal_(residual.tilt.out.weight)
    tilted = residual.velocity(residual.encode(batch()), x, w)
    assert not torch.allclose(tilted, expected)
    other = make_policy(json.loads(json.dumps(residual.config())), residual.normalization())
    other.load_state_dict(residual.state_dict())
    assert torch.equal(other.velocity(other.encode(batch()), x, w), tilted)


def test_a_width_that_the_heads_do_not_divide_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match='16 is not a multiple of heads.* 3'):
        make(heads=3)


def test_an_unknown_network_is_refused_by_name():
    with pytest.raises(ValueError, match='perceiver'):
        make(network='perceiver')


def test_256_wide_and_four_deep_is_about_five_million_weights():
    policy = make_policy({'network': 'transformer', 'hidden': 256, 'layers': 4, 'state_dim': 55},
                         norms(14, 14, 55))
    assert 4.8e6 < sum(p.numel() for p in policy.parameters()) < 5.2e6

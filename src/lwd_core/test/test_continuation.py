# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: the weights by hand, the guidance against Gaussian flows solved exactly."""

from math import e, exp

import numpy as np
import pytest
import torch

from lwd_core.chunks.continuation import Continuation, guidance_weights, TRAINED
from lwd_core.flow import ActingPolicy, make_policy, ResidualFlow
from lwd_core.flow.continuing import (
    guidance_scale,
    guided_euler,
    prefixed_euler,
    sample_continuing,
)
from lwd_core.flow.sampler import euler
from lwd_core.normalization import Normalizer

CONFIG = {'horizon': 6, 'action_dim': 2, 'joint_dim': 3, 'hidden': 32, 'instruction_dim': 0}


def norms():
    rng = np.random.default_rng(0)
    return {'joints': Normalizer.identity(3),
            'action': Normalizer.from_data(rng.normal(2, 3, size=(50, 2)))}


def policy(**changes):
    torch.manual_seed(0)
    return make_policy({**CONFIG, **changes}, norms())


def by_hand(c):
    return c * (exp(c) - 1) / (e - 1)


@pytest.mark.parametrize('horizon, delay, execute, expected', [
    (10, 2, 3, [1, 1, *map(by_hand, (5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6)), 0, 0, 0]),
    (8, 0, 4, [*map(by_hand, (4 / 5, 3 / 5, 2 / 5, 1 / 5)), 0, 0, 0, 0]),
    (6, 3, 3, [1, 1, 1, 0, 0, 0]),  # nothing between: d = s = H / 2
    (5, 0, 5, [0] * 5),
    (4, 4, 0, [1] * 4),
])
def test_the_weights_are_those_of_the_formula(horizon, delay, execute, expected):
    assert guidance_weights(horizon, delay, execute) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize('delay, execute', [(-1, 2), (2, -1), (5, 4), (9, 0)])
def test_weights_outside_the_bounds_are_refused(delay, execute):
    with pytest.raises(ValueError, match='at most the horizon, which is 8'):
        guidance_weights(8, delay, execute)


@pytest.mark.parametrize('w, bound, expected', [
    (0.0, 5.0, 5.0),        # infinite at pure noise: bounded
    (0.1, 5.0, 5.0),        # 0.82 / 0.09 = 9.1
    (0.1, 10.0, 0.82 / 0.09),
    (0.5, 5.0, 2.0),        # 1 * 0.5 / 0.25
    (0.8, 10.0, 0.25 * 0.68 / 0.04),
])
def test_the_guidance_weight_is_that_of_the_formula(w, bound, expected):
    assert guidance_scale(w, bound) == pytest.approx(expected)


def gaussian(mixing):
    """Return the velocity of the flow to N(0, C), C = A A^T: linear, with a dense Jacobian."""
    cov = mixing @ mixing.T
    eye = torch.eye(len(cov), dtype=cov.dtype)

    def matrix(w):  # E[x_1 - x_0 | x_w] = (w C - (1-w) I) (w^2 C + (1-w)^2 I)^-1 x_w
        return (w * cov - (1 - w) * eye) @ torch.linalg.inv(w * w * cov + (1 - w) ** 2 * eye)

    def velocity(x, w):
        return (x.flatten(1) @ matrix(float(w[0])).T).view(x.shape)
    return velocity, matrix


def test_the_guided_velocity_is_the_formula_with_the_transposed_jacobian():
    # A non-symmetric Jacobian: a JVP in place of the VJP would give another result.
    torch.manual_seed(0)
    matrix = torch.randn(6, 6, dtype=torch.float64) / 4

    def velocity(x, w):
        return (x.flatten(1) @ matrix.T).view(x.shape)
    noise, target = torch.randn(2, 3, 2, dtype=torch.float64), torch.randn(2, 3, 2).double()
    weights = torch.tensor([[1.0, 0.5, 0.0], [1.0, 1.0, 0.2]], dtype=torch.float64)
    steps, x = 4, noise.flatten(1)
    mask = weights[..., None].expand(2, 3, 2).flatten(1)
    for i in range(steps):
        w = i / steps
        v = x @ matrix.T
        jacobian = torch.eye(6, dtype=torch.float64) + (1 - w) * matrix
        error = mask * (target.flatten(1) - (x + (1 - w) * v))
        x = x + (v + guidance_scale(w, 3.0) * error @ jacobian) / steps
    guided = guided_euler(velocity, noise, target, weights, steps, max_weight=3.0)
    assert torch.allclose(guided.flatten(1), x, atol=1e-12)


def test_zero_weights_leave_the_flow_as_it_is():
    net = policy()
    noise, prefix = torch.randn(3, 6, 2), torch.randn(3, 32)
    guided = guided_euler(lambda x, w: net.velocity(prefix, x, w), noise, torch.randn(3, 6, 2),
                          torch.zeros(3, 6), 5)
    plain = euler(lambda x, w: net.velocity(prefix, x, w), noise, 5)
    assert torch.equal(guided, plain.detach())


def test_rows_held_fast_reach_the_running_chunk_and_pull_correlated_ones_along():
    # Rows 0 and 1 correlate by .9, so holding row 0 at 1 should move row 1 to about .9.
    mixing = torch.linalg.cholesky(torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64))
    velocity, _ = gaussian(mixing)
    noise = torch.randn(4000, 2, 1, generator=torch.Generator().manual_seed(1)).double()
    target = torch.ones(4000, 2, 1, dtype=torch.float64)
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(4000, 2)
    held = guided_euler(velocity, noise, target, weights, 20)
    assert held[:, 0].mean() == pytest.approx(1.0, abs=0.05)
    assert held[:, 0].std() < 0.15
    assert held[:, 1].mean() == pytest.approx(0.9, abs=0.1)


def acting(**changes):
    return ActingPolicy(policy(**changes), steps=5)


def batch(rows=1):
    return {'joints': torch.zeros(rows, 3)}


def test_a_policy_continues_a_running_chunk_more_closely_than_it_would_by_chance():
    robot = acting()
    running = robot.act_batch(batch(), [1])[0]
    rows = running[2:]
    free = robot.act_batch(batch(), [7])[0]
    held = robot.act_batch(batch(), [7], [Continuation(rows, 2)])[0]
    scale = robot.policy.action_std.numpy()
    assert np.abs((held[:2] - rows[:2]) / scale).max() < 0.3 * np.abs(
        (free[:2] - rows[:2]) / scale).max()


def test_in_a_batch_each_row_continues_its_own_chunk_or_none():
    robot = acting()
    rows = robot.act_batch(batch(), [1])[0][2:]
    mixed = robot.act_batch(batch(2), [7, 7], [Continuation(rows, 2), None])
    assert mixed[0] == pytest.approx(
        robot.act_batch(batch(), [7], [Continuation(rows, 2)])[0], abs=1e-5)
    assert mixed[1] == pytest.approx(robot.act_batch(batch(), [7])[0], abs=1e-5)


def test_the_same_running_chunk_gives_the_same_chunk_bit_for_bit():
    robot = acting()
    rows = robot.act_batch(batch(), [1])[0][2:]
    one, two = (robot.act_batch(batch(), [7], [Continuation(rows, 2)]) for _ in range(2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize('network', ['mlp', 'transformer'])
def test_a_trained_prefix_is_kept_exactly_and_the_network_is_told(network):
    robot = acting(max_delay=3, network=network)
    torch.nn.init.normal_(robot.policy.given_in.weight)
    rows = np.random.default_rng(3).normal(2, 3, size=(4, 2)).astype(np.float32)
    held = robot.act_batch(batch(), [7], [Continuation(rows, 2, TRAINED)])[0]
    assert held[:2] == pytest.approx(rows[:2], abs=1e-5)
    other = robot.act_batch(batch(), [7], [Continuation(rows, 1, TRAINED)])[0]
    assert np.abs(held[2:] - other[2:]).max() > 1e-3
    assert robot.continues == ('guided', 'trained')


def test_a_residual_policy_continues_as_its_base_while_its_tilt_is_zero():
    base = policy(max_delay=3)
    rows = np.random.default_rng(3).normal(2, 3, size=(4, 2)).astype(np.float32)
    alone = ActingPolicy(base, 5).act_batch(batch(), [7], [Continuation(rows, 2, TRAINED)])
    tilted = ActingPolicy(ResidualFlow.over(base, 16, 2), 5)
    assert tilted.act_batch(batch(), [7], [Continuation(rows, 2, TRAINED)]) == pytest.approx(
        alone, abs=1e-6)


def test_a_policy_that_was_not_trained_for_a_prefix_refuses_it():
    robot = acting()
    assert robot.continues == ('guided',)
    with pytest.raises(ValueError, match='max_delay = 0'):
        robot.act_batch(batch(), [7], [Continuation(np.zeros((3, 2), np.float32), 1, TRAINED)])


def test_given_rows_stand_still_while_the_flow_moves_the_others():
    seen = []

    def velocity(x, w):
        seen.append(x[:, 0].clone())
        return torch.ones_like(x)
    noise, target = torch.zeros(1, 3, 1), torch.full((1, 3, 1), 9.0)
    x = prefixed_euler(velocity, noise, target, torch.tensor([[1.0, 0.0, 0.0]]), 4)
    assert x.flatten().tolist() == pytest.approx([9, 1, 1])
    assert all(step.item() == 9 for step in seen)


@pytest.mark.parametrize('rows, delay, kind', [
    (np.zeros((3, 2), np.float32), 4, 'guided'), (np.zeros((3, 2), np.float32), -1, 'guided'),
    (np.zeros(3, np.float32), 1, 'guided'), (np.zeros((3, 2), np.float32), 1, 'magic')])
def test_an_impossible_continuation_is_refused_with_the_bound(rows, delay, kind):
    with pytest.raises(ValueError, match='must be'):
        Continuation(rows, delay, kind)


def test_kinds_are_not_mixed_in_a_batch():
    rows = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match='cannot mix'):
        sample_continuing(policy(max_delay=2), torch.zeros(2, 32), torch.zeros(2, 6, 2), 5,
                          [Continuation(rows, 1), Continuation(rows, 1, TRAINED)])

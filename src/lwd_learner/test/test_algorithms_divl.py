# SPDX-License-Identifier: Apache-2.0
"""DIVL and its ablations against exact values (algorithm.md, section 6)."""

import math

import pytest
import torch
from torch import tensor

from lwd_learner.algorithms import divl, iql
from lwd_learner.algorithms.divl import DivlConfig

CONFIG = DivlConfig()


def law(*pairs: tuple[float, float]) -> torch.Tensor:
    """Mix projected scalars: (value, probability) pairs to [1, K]."""
    return sum(p * divl.project(tensor([q], dtype=torch.float64), CONFIG) for q, p in pairs)


TWO = law((0.2, 0.7), (0.9, 0.3))


def read(probabilities: torch.Tensor, tau: float, config: DivlConfig = CONFIG) -> float:
    return float(divl.quantile(probabilities, tensor([tau]), config))


def test_support_has_the_papers_atoms():
    atoms = divl.support(CONFIG, TWO)
    assert len(atoms) == 201 and CONFIG.spacing == pytest.approx(0.006)
    assert atoms[[0, 50, 100, 200]].tolist() == pytest.approx([-0.1, 0.2, 0.5, 1.1])


@pytest.mark.parametrize('q', [-0.1, 0.0, 0.2, 0.503, 0.9, 1.0999, 1.1])
def test_projection_keeps_mass_and_mean_on_two_neighbours(q):
    p = law((q, 1.0))
    assert float(p.sum()) == pytest.approx(1)
    assert float(p @ divl.support(CONFIG, p)) == pytest.approx(q, abs=1e-9)
    assert int((p > 1e-9).sum()) <= 2


@pytest.mark.parametrize('q, edge', [(-5.0, -0.1), (7.0, 1.1)])
def test_values_beyond_the_support_are_clipped_to_it(q, edge):
    p = law((q, 1.0))
    assert float(p @ divl.support(CONFIG, p)) == pytest.approx(edge)


def test_a_q_that_is_not_a_number_is_not_a_label():
    p = divl.project(tensor([0.5, float('nan')]), CONFIG)
    assert bool(torch.isfinite(p[0]).all()) and bool(torch.isnan(p[1]).any())
    loss = divl.value_loss(torch.zeros(2, 201), tensor([0.5, float('nan')]), CONFIG)
    assert bool(torch.isnan(loss))


def test_adaptive_tau_of_the_two_point_law():
    assert float(divl.normalized_entropy(TWO)) == pytest.approx(0.15119, abs=1e-5)
    assert float(divl.adaptive_tau(TWO, 0.6, CONFIG)) == pytest.approx(0.55464, abs=1e-5)
    assert float(divl.adaptive_tau(TWO, 0.9, CONFIG)) == pytest.approx(0.85464, abs=1e-5)


@pytest.mark.parametrize('tau, value', [
    (0.55464, 0.200), (0.85464, 0.902), (0.70, 0.200), (0.71, 0.896)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_quantile_is_the_first_atom_with_enough_mass(tau, value, dtype):
    assert read(TWO.to(dtype), tau) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize('q, entropy, value', [(0.5, 0.0, 0.500), (0.503, 0.1307, 0.506)])
def test_certain_values_read_themselves_up_to_an_atom(q, entropy, value):
    p = law((q, 1.0))
    assert float(divl.normalized_entropy(p)) == pytest.approx(entropy, abs=1e-4)
    tau = divl.adaptive_tau(p, 0.6, CONFIG)
    assert float(divl.quantile(p, tau, CONFIG)) == pytest.approx(value, abs=1e-6)


def test_uniform_logits_have_entropy_one():
    p = torch.zeros(1, 201).softmax(-1)
    assert float(divl.normalized_entropy(p)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize('tau', [0.05, 0.3, 0.6, 0.95])
def test_fair_coin_reward_after_one_action_reads_one_half_at_every_tau(tau):
    """Q of the only action is .5: a return distribution would read 0 or 1."""
    torch.manual_seed(0)
    q = torch.zeros(1, requires_grad=True)
    rewards = tensor([0.0, 1.0]).repeat(8)
    for _ in range(200):
        y = divl.td_target(rewards, torch.zeros(16), torch.ones(16))
        gradient, = torch.autograd.grad(divl.q_loss(q.expand(1, 16), y), q)
        q = (q - 0.4 * gradient).detach().requires_grad_(True)
    assert read(divl.project(q.detach(), CONFIG), tau) == pytest.approx(0.5, abs=CONFIG.spacing)


@pytest.mark.parametrize('n, interpolate, value', [
    (1, False, 0.995), (10, False, 0.555), (1, True, 0.664), (10, True, 0.560)])
def test_atom_rounding_on_a_chain_of_200_chunks(n, interpolate, value):
    """Success 200 chunks away, gamma^H = .997, tau_base .6; the exact value is .549."""
    config = DivlConfig(interpolate=interpolate)
    values: list[float] = []
    for left in range(200):
        y = 0.997 ** left if left < n else 0.997 ** n * values[left - n]
        p = divl.project(tensor([y], dtype=torch.float64), config)
        values.append(float(divl.quantile(p, divl.adaptive_tau(p, 0.6, config), config)))
    assert values[-1] == pytest.approx(value, abs=0.02)


def test_interpolated_quantile_is_monotone_and_inside_the_atoms():
    config = DivlConfig(interpolate=True)
    values = [read(TWO, tau, config) for tau in torch.linspace(0.02, 0.98, 60).tolist()]
    assert values == sorted(values) and values[0] >= -0.1 and values[-1] <= 1.1


def test_labels_and_targets_carry_no_gradient():
    q = torch.rand(4, requires_grad=True)
    logits = torch.randn(4, 201, requires_grad=True)
    divl.value_loss(logits, q, CONFIG).backward()
    assert q.grad is None and logits.grad is not None
    assert not divl.td_target(q, q, q).requires_grad


def test_value_loss_gradient_matches_finite_differences():
    torch.manual_seed(0)
    logits = torch.randn(3, 201, dtype=torch.float64, requires_grad=True)
    q = tensor([0.1, 0.503, 0.95], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: divl.value_loss(x, q, CONFIG), (logits,))


def test_value_law_converges_to_the_law_of_q_over_actions():
    logits = torch.zeros(1, 201, requires_grad=True)
    q = tensor([0.2] * 7 + [0.9] * 3)
    optimizer = torch.optim.Adam([logits], 0.3)
    for _ in range(300):
        optimizer.zero_grad()
        divl.value_loss(logits.expand(10, -1), q, CONFIG).backward()
        optimizer.step()
    assert torch.allclose(logits.softmax(-1), TWO.float(), atol=0.01)
    value, tau = divl.state_value(logits, 0.6, CONFIG)
    assert float(value) == pytest.approx(0.2, abs=1e-5) and float(tau) < 0.6


def test_expectile_half_is_the_mean_and_higher_is_optimistic():
    q = tensor([0.0, 0.0, 0.0, 1.0])
    for level, expected in ((0.5, 0.25), (0.9, 0.75)):
        v = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.Adam([v], 0.05)
        for _ in range(400):
            optimizer.zero_grad()
            iql.expectile_loss(v.expand(4), q, level).backward()
            optimizer.step()
        assert float(v.detach()) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize('change', [
    {'atoms': 1}, {'low': 2.0}, {'tau_min': 0.0}, {'tau_min': 0.9, 'tau_max': 0.1}])
def test_impossible_constants_are_refused(change):
    with pytest.raises(ValueError, match='DIVL'):
        DivlConfig(**change)


def test_constant_tau_is_alpha_zero():
    assert float(divl.adaptive_tau(TWO, 0.6, DivlConfig(alpha=0.0))) == pytest.approx(0.6)
    assert math.isclose(read(TWO, 0.6), 0.2, abs_tol=1e-6)


def test_bounded_the_bootstrap_stays_where_returns_lie():
    logits = torch.full((1, 201), -30.0)
    logits[0, -1] = 30.0  # all mass on the last atom, 1.1
    assert float(divl.state_value(logits, 0.6, DivlConfig())[0]) == pytest.approx(1.1)
    assert float(divl.state_value(logits, 0.6, DivlConfig(bound=True))[0]) == 1.0

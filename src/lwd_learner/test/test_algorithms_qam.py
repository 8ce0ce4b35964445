# SPDX-License-Identifier: Apache-2.0
"""QAM against closed forms (algorithm.md, section 6): tabulated fields, no network to train."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, tensor

from lwd_learner.algorithms import qam
from lwd_learner.algorithms.qam import QamConfig

WIDE = QamConfig(beta=1.0, action_clip=1e9)
F64 = torch.float64


def gaussian_field(mean: Tensor, cov: Tensor):
    """Return f_ref(x, w) of a reference N(mean [d], cov [d, d])."""
    eye = torch.eye(len(mean), dtype=F64)

    def field(x: Tensor, w: Tensor) -> Tensor:
        w = w[:, None, None]
        spread = (1 - w) ** 2 * eye + w ** 2 * cov
        gain = (w * cov - (1 - w) * eye) @ torch.linalg.inv(spread)
        return mean + (gain @ (x - w[:, 0] * mean)[..., None])[..., 0]

    return field


class Table:
    """A policy field that is affine in x at every grid time, fitted by least squares."""

    def __init__(self, steps: int, dim: int, reference):
        self.steps, self.reference = steps, reference
        self.weight = torch.zeros(steps, dim + 1, dim, dtype=F64)

    def __call__(self, x: Tensor, w: Tensor) -> Tensor:
        index = round(float(w[0]) * self.steps)
        return self.reference(x, w) + self._design(x) @ self.weight[index]

    def fit(self, paths: qam.Paths, g: Tensor) -> None:
        for i in range(self.steps):
            target = qam.target_field(torch.zeros_like(g[i]), g[i], i * paths.h, paths.h)
            self.weight[i] = torch.linalg.lstsq(self._design(paths.x[i]), target).solution

    @staticmethod
    def _design(x: Tensor) -> Tensor:
        return torch.cat((x, torch.ones_like(x[:, :1])), 1)


def solve(reference, q, dim: int, steps: int, *, count=20000, rounds=14, path='policy') -> Table:
    """Iterate rollout, adjoint and pointwise optimum to the fixed point."""
    generator = torch.Generator().manual_seed(0)
    table = Table(steps, dim, reference)
    for _ in range(rounds):
        noise = torch.randn(count, dim, generator=generator, dtype=F64)
        paths = qam.rollout(table if path == 'policy' else reference, reference, noise, steps,
                            generator)
        g = qam.lean_adjoint(reference, paths, qam.terminal_adjoint(q, paths.x[-1], WIDE))
        table.fit(paths, g)
    return table


def euler(field, dim: int, steps: int, count: int = 200000) -> Tensor:
    x = torch.randn(count, dim, generator=torch.Generator().manual_seed(1), dtype=F64)
    for i in range(steps):
        x = x + field(x, torch.full((1,), i / steps, dtype=F64)) / steps
    return x


UNIT = gaussian_field(torch.zeros(1, dtype=F64), torch.eye(1, dtype=F64))


def quadratic(x: Tensor) -> Tensor:
    return -((x - 1) ** 2)[:, 0] / 2


@pytest.mark.parametrize('w, value', [(0.1, 0.122), (0.25, 0.4), (0.5, 1.0), (0.75, 1.2)])
def test_adjoint_of_a_unit_gaussian(w, value):
    steps = 1000
    paths = qam.Paths(torch.zeros(steps + 1, 1, 1, dtype=F64), 1 / steps)
    g = qam.lean_adjoint(UNIT, paths, torch.ones(1, 1, dtype=F64))
    assert float(g[round(w * steps), 0, 0]) == pytest.approx(value, rel=0.01, abs=0.001)


def test_adjoint_of_any_gaussian_follows_its_closed_form():
    s2, steps = 0.3, 2000
    field = gaussian_field(tensor([0.7], dtype=F64), tensor([[s2]], dtype=F64))
    paths = qam.Paths(torch.randn(steps + 1, 1, 1, dtype=F64), 1 / steps)
    g = qam.lean_adjoint(field, paths, torch.ones(1, 1, dtype=F64))
    for w in (0.1, 0.5, 0.9):
        exact = w * s2 / ((1 - w) ** 2 + w ** 2 * s2)
        assert float(g[round(w * steps), 0, 0]) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize('steps, mean, variance', [
    (10, 0.434, 0.394), (20, 0.455, 0.446), (50, 0.475, 0.478)])
def test_discrete_fixed_point_of_a_quadratic_value(steps, mean, variance):
    """m = 0, s = k = beta = a* = 1; the continuous law has .5 and .5."""
    x = euler(solve(UNIT, quadratic, 1, steps), 1, steps)
    assert float(x.mean()) == pytest.approx(mean, rel=0.03)
    assert float(x.var()) == pytest.approx(variance, rel=0.03)


def test_variance_relative_to_the_reference_on_the_same_grid():
    x = euler(solve(UNIT, quadratic, 1, 10), 1, 10)
    assert float(x.var() / euler(UNIT, 1, 10).var()) == pytest.approx(0.5106, rel=0.02)


def test_reference_paths_are_the_inexact_switch():
    """Rolled with the reference the fixed point has mean .725 and variance .368 (kappa = 1)."""
    x = euler(solve(UNIT, quadratic, 1, 100, rounds=1, path='reference'), 1, 100)
    assert float(x.mean()) == pytest.approx(0.725, rel=0.04)
    assert float(x.var() / euler(UNIT, 1, 100).var()) == pytest.approx(0.368, rel=0.03)


def test_linear_value_shifts_the_gaussian_without_shrinking_it():
    mean, s2, c, steps = 0.3, 0.5, 0.8, 100
    field = gaussian_field(tensor([mean], dtype=F64), tensor([[s2]], dtype=F64))
    table = solve(field, lambda x: c * x[:, 0], 1, steps, count=10000, rounds=2)
    x = euler(table, 1, steps)
    assert float(x.mean()) == pytest.approx(mean + c * s2, rel=0.03)
    assert float(x.var() / euler(field, 1, steps).var()) == pytest.approx(1, rel=0.02)
    for i in (20, 50, 80):  # f_theta - f_ref = beta c s^2 (1 - w) / D
        w = i / steps
        exact = c * s2 * (1 - w) / ((1 - w) ** 2 + w ** 2 * s2)
        assert float(table.weight[i, 1, 0]) == pytest.approx(exact, rel=0.05)


def test_d_dimensional_gaussian_with_correlations():
    mean = tensor([0.2, -0.4, 0.1], dtype=F64)
    root = tensor([[1.0, 0.0, 0.0], [0.5, 0.8, 0.0], [-0.3, 0.2, 0.6]], dtype=F64)
    cov, k = root @ root.T, tensor([[1.0, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 0.4]], dtype=F64)
    best = tensor([1.0, 0.5, -1.0], dtype=F64)
    exact_cov = torch.linalg.inv(torch.linalg.inv(cov) + k)
    exact_mean = exact_cov @ (torch.linalg.inv(cov) @ mean + k @ best)

    def q(x: Tensor) -> Tensor:
        return -((x - best) @ k * (x - best)).sum(1) / 2

    table = solve(gaussian_field(mean, cov), q, 3, 50, count=8000, rounds=10)
    x = euler(table, 3, 50, 60000)
    assert torch.allclose(x.mean(0), exact_mean, atol=0.05)
    assert torch.allclose(x.T.cov(), exact_cov, atol=0.05)


def test_adjoint_is_a_vjp_of_a_non_symmetric_jacobian():
    """A JVP in its place gives the transposed product."""
    matrix = tensor([[0.1, 2.0], [-0.5, 0.3]], dtype=F64)
    h, g1 = 0.5, tensor([[1.0, -2.0]], dtype=F64)
    paths = qam.Paths(torch.randn(3, 1, 2, dtype=F64), h)
    g = qam.lean_adjoint(lambda x, w: x @ matrix.T, paths, g1)
    expected = g1
    for end in (1.0, 0.5):
        expected = expected + h * (2 * expected @ matrix - expected / end)
    assert torch.allclose(g[0], expected)
    wrong = g1 + h * (2 * g1 @ matrix.T - g1)
    assert not torch.allclose(g[1], wrong)


def test_adjoint_jacobian_matches_finite_differences_of_a_network():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    net = net.double()

    def field(x: Tensor, w: Tensor) -> Tensor:
        return net(torch.cat((x, w[:, None]), 1))

    x, g1 = torch.randn(2, 3, dtype=F64), torch.randn(2, 3, dtype=F64)
    g = qam.lean_adjoint(field, qam.Paths(torch.stack((x, x)), 1.0), g1)
    w = torch.ones(2, dtype=F64)
    for j in range(3):
        step = torch.zeros(3, dtype=F64)
        step[j] = 1e-5
        column = ((2 * field(x + step, w) - (x + step)) - (2 * field(x - step, w) - (x - step)))
        product = (column / 2e-5 * g1).sum(1)
        assert torch.allclose(g[0][:, j], g1[:, j] + product, atol=1e-6)


def mixture_field(centre: float = 1.0, s2: float = 0.09):
    """Return f_ref of .5 N(-1, .09) + .5 N(1, .09)."""
    def field(x: Tensor, w: Tensor) -> Tensor:
        w = w[:, None]
        d = (1 - w) ** 2 + w ** 2 * s2
        gain = (w * s2 - (1 - w)) / d
        share = torch.sigmoid(2 * w * centre * x / d)
        parts = [m + gain * (x - w * m) for m in (-centre, centre)]
        return (1 - share) * parts[0] + share * parts[1]

    return field


@pytest.mark.parametrize('tilt, steps, share, tolerance', [
    (0.5, 50, 0.7311, 0.02), (1.5, 10, 0.859, 0.03)])
def test_two_modes_are_reweighted(tilt, steps, share, tolerance):
    """Weights .2689/.7311 at beta c = .5; a coarse grid under-tilts (1.5: .859, exact .953)."""
    generator = torch.Generator().manual_seed(0)
    reference, bins = mixture_field(), 61
    edges = torch.linspace(-4, 4, bins - 1, dtype=F64)
    shift = torch.zeros(steps, bins, 1, dtype=F64)

    def policy(x: Tensor, w: Tensor) -> Tensor:
        index = torch.bucketize(x[:, 0].contiguous(), edges)
        return reference(x, w) + shift[round(float(w[0]) * steps)][index]

    for _ in range(6):
        noise = torch.randn(30000, 1, generator=generator, dtype=F64)
        paths = qam.rollout(policy, reference, noise, steps, generator)
        g = qam.lean_adjoint(reference, paths, torch.full_like(noise, -tilt))
        for i in range(steps):
            target = qam.target_field(torch.zeros_like(g[i]), g[i], i / steps, 1 / steps)
            index = torch.bucketize(paths.x[i][:, 0].contiguous(), edges)
            total = torch.zeros(bins, dtype=F64).index_add_(0, index, target[:, 0])
            count = torch.bincount(index, minlength=bins).clamp(min=1)
            shift[i] = (total / count)[:, None]
    x = euler(policy, 1, steps)
    assert float((x > 0).double().mean()) == pytest.approx(share, abs=tolerance)
    if steps >= 50:
        assert float(x[x > 0].mean()) == pytest.approx(1.045, abs=0.02)
        assert float(x[x < 0].mean()) == pytest.approx(-0.955, abs=0.02)


def nets(seed: int = 0):
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(7, 16), torch.nn.SiLU(), torch.nn.Linear(16, 6))

    def field(x: Tensor, w: Tensor) -> Tensor:
        return net(torch.cat((x.flatten(1), w[:, None]), 1)).view(x.shape)

    return net, field


def test_beta_zero_has_no_loss_and_no_gradient_at_the_reference():
    net, field = nets()
    loss, _ = qam.qam_loss(field, field, lambda a: a.sum((1, 2)), torch.randn(8, 2, 3),
                           QamConfig(beta=0.0))
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(float(p.grad.abs().max()) == 0 for p in net.parameters())


def test_a_constant_added_to_q_changes_nothing():
    _, field = nets()
    _, reference = nets(1)
    losses = []
    for constant in (0.0, 100.0):
        loss, _ = qam.qam_loss(field, reference, lambda a, c=constant: a.sum((1, 2)) + c,
                               torch.ones(8, 2, 3), QamConfig(), torch.Generator().manual_seed(0))
        losses.append(float(loss.detach()))
    assert losses[0] == losses[1] > 0


def test_loss_is_minimal_at_the_pointwise_optimum():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(16, 1, generator=generator, dtype=F64)
    paths = qam.rollout(UNIT, UNIT, noise, 10, generator)
    g = qam.lean_adjoint(UNIT, paths, torch.ones_like(noise))
    w = torch.arange(10, dtype=F64)[:, None, None] / 10
    flat = -qam.variance(w, 0.1) * g / 2

    def at(scale: float) -> float:
        errors = qam.matching_errors(
            lambda x, w: UNIT(x, w) + scale * flat.flatten(0, 1), UNIT, paths, g)
        return float(errors.sum())

    assert at(1.0) == pytest.approx(0, abs=1e-12) and at(0.9) > 0 and at(1.1) > 0


def test_loss_gradient_matches_finite_differences():
    net, field = nets()
    net.double()
    frozen = torch.nn.Linear(7, 6).double()
    paths = qam.Paths(torch.randn(4, 3, 2, 3, dtype=F64), 1 / 3)
    g = torch.randn(3, 3, 2, 3, dtype=F64)

    def loss() -> Tensor:
        return qam.matching_errors(field, lambda x, w: frozen(
            torch.cat((x.flatten(1), w[:, None]), 1)).view(x.shape), paths, g).mean()

    weight = net[0].weight
    gradient, = torch.autograd.grad(loss(), weight)
    for index in ((0, 0), (3, 6), (15, 2)):
        with torch.no_grad():
            weight[index] += 1e-5
            above = float(loss())
            weight[index] -= 2e-5
            below = float(loss())
            weight[index] += 1e-5
        assert float(gradient[index]) == pytest.approx((above - below) / 2e-5, rel=1e-5)


def test_gradient_reaches_the_policy_only():
    net, field = nets()
    other, reference = nets(1)
    loss, _ = qam.qam_loss(field, reference, lambda a: (a ** 2).sum((1, 2)), torch.randn(4, 2, 3),
                           QamConfig())
    loss.backward()
    assert net[0].weight.grad is not None and other[0].weight.grad is None


def test_actions_beyond_the_clip_get_no_tilt():
    action = tensor([[[0.5], [9.0]]])
    g = qam.terminal_adjoint(lambda a: a.sum((1, 2)), action, QamConfig(beta=2.0))
    assert g.flatten().tolist() == [-2.0, 0.0]


def test_robust_options_bound_a_few_ruling_samples():
    errors = tensor([1.0] * 9 + [1e6])
    assert float(qam.robust_mean(errors, QamConfig())) > 1e4
    assert float(qam.robust_mean(errors, QamConfig(robust='drop'))) == 1
    g = torch.cat((torch.ones(9, 1, 1), torch.full((1, 1, 1), 1e6)))
    assert float(qam.robust_clip(g, QamConfig(robust='clip', robust_norm=3.0)).max()) == 3
    assert torch.equal(qam.robust_clip(g, QamConfig()), g)


@pytest.mark.parametrize('change, word', [
    ({'path_source': 'x'}, 'path_source'), ({'robust': 'x'}, 'robust'), ({'beta': -1.0}, 'beta'),
    ({'steps': 1}, 'steps')])
def test_impossible_settings_are_refused(change, word):
    with pytest.raises(ValueError, match=word):
        replace(QamConfig(), **change)


def turning_field(turn: float):
    """Return f_ref of N(0, I) in two dimensions whose Jacobian is not symmetric: it turns, too."""
    still = gaussian_field(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
    matrix = turn * tensor([[0.0, -1.0], [1.0, 0.0]], dtype=F64)
    return lambda x, w: still(x, w) + x @ matrix.T


def test_tilted_law_under_a_reference_that_turns():
    """The paths keep N(0, I)'s tilt; the transposed product (a JVP) misses its mean by far."""
    k, best = torch.diag(tensor([2.0, 0.2], dtype=F64)), tensor([1.0, -1.0], dtype=F64)
    cov = torch.linalg.inv(torch.eye(2, dtype=F64) + k)
    mean = cov @ k @ best

    def q(x: Tensor) -> Tensor:
        return -((x - best) @ k * (x - best)).sum(1) / 2

    def ends(reference, adjoint) -> Tensor:
        generator, steps = torch.Generator().manual_seed(0), 50
        table = Table(steps, 2, reference)
        for _ in range(10):
            noise = torch.randn(4000, 2, generator=generator, dtype=F64)
            paths = qam.rollout(table, reference, noise, steps, generator)
            table.fit(paths, qam.lean_adjoint(
                adjoint, paths, qam.terminal_adjoint(q, paths.x[-1], WIDE)))
        return paths.x[-1]

    turning, back = turning_field(0.5), turning_field(-0.5)
    x = ends(turning, turning)
    assert torch.allclose(x.mean(0), mean, atol=0.06)
    assert torch.allclose(x.T.cov(), cov, atol=0.1)  # 4,000 ends: 0.02, and the coarse grid
    wrong = ends(turning, back)  # the Jacobian of the field that turns back is the transpose
    assert float((wrong.mean(0) - mean).norm()) > 0.2


@pytest.mark.parametrize('source', ['policy', 'reference'])
def test_what_was_evaluated_on_the_way_gives_the_loss_of_evaluating_it_again(source):
    net, field = nets()
    _, frozen = nets(1)
    config = QamConfig(path_source=source, beta=2.0)
    noise = torch.randn(6, 2, 3)

    def q(a: Tensor) -> Tensor:
        return (a ** 2).sum((1, 2))

    loss, _ = qam.qam_loss(field, frozen, q, noise, config, torch.Generator().manual_seed(0))
    path = field if source == 'policy' else frozen
    paths = qam.rollout(path, frozen, noise, 10, torch.Generator().manual_seed(0))
    g = qam.lean_adjoint(frozen, paths, qam.terminal_adjoint(q, paths.x[-1], config))
    again = (qam.matching_errors(field, frozen, paths, g) / 6).mean()
    assert float(loss.detach()) == pytest.approx(float(again.detach()), rel=1e-5)
    ours, theirs = (torch.autograd.grad(x, net[0].weight)[0] for x in (loss, again))
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-7)


def test_padded_dimensions_have_no_adjoint_and_no_loss():
    config = QamConfig(beta=1.0, padded_dims=1)
    action = torch.zeros(4, 2, 3)
    g = qam.terminal_adjoint(lambda a: a.sum((1, 2)), action, config)
    assert (g[..., -1] == 0).all() and (g[..., :2] == -1).all()
    _, field = nets()

    def off(x: Tensor, w: Tensor) -> Tensor:
        return field(x, w) + torch.nn.functional.pad(torch.ones_like(x[..., :1]), (2, 0))

    losses = [float(qam.qam_loss(policy, field, lambda a: 0 * a.sum((1, 2)), torch.ones(4, 2, 3),
                                 config, torch.Generator().manual_seed(0))[0].detach())
              for policy in (field, off)]
    assert losses == [0.0, 0.0]


def test_bfloat16_networks_keep_states_and_loss_in_float32_and_near():
    net, field = nets()
    _, frozen = nets(1)
    losses = []
    for precision in ('float32', 'bfloat16'):
        loss, logged = qam.qam_loss(
            field, frozen, lambda a: (a ** 2).sum((1, 2)), torch.ones(64, 2, 3),
            QamConfig(precision=precision), torch.Generator().manual_seed(0))
        assert loss.dtype == torch.float32 and logged['adjoint_max'].dtype == torch.float32
        losses.append(float(loss.detach()))
    assert losses[1] == pytest.approx(losses[0], rel=0.05) and losses[0] != losses[1]

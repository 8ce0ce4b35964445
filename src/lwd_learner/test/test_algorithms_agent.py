# SPDX-License-Identifier: Apache-2.0
"""The agent's order, switches, restart; cloning and the choice of data to clone."""

import numpy as np
import pytest
import torch

from lwd_core.flow import make_policy, ResidualFlow
from lwd_core.normalization import Normalizer
from lwd_learner.algorithms import qam, recap
from lwd_learner.algorithms.agent import Agent
from lwd_learner.algorithms.bc import bc_loss, BcConfig, flow_loss, sample_times
from lwd_learner.algorithms.config import AgentConfig
from lwd_learner.algorithms.dagger import imitation_ticks

H, D, J, S, B = 4, 3, 3, 5, 8
SMALL = {'critic': {'hidden': 16}, 'tilt_hidden': 8}


def policy(seed: int = 0):
    torch.manual_seed(seed)
    return make_policy(
        {'horizon': H, 'action_dim': D, 'joint_dim': J, 'state_dim': S, 'hidden': 16,
         'instruction_dim': 4},
        {'joints': Normalizer.identity(J), 'state': Normalizer.identity(S),
         'action': Normalizer(np.full(D, 2.0), np.full(D, 3.0))})


def inputs(count: int = B) -> dict[str, torch.Tensor]:
    return {'joints': torch.randn(count, J), 'state': torch.randn(count, S),
            'instruction': torch.randn(count, 4)}


def batch(seed: int = 0) -> dict:
    torch.manual_seed(seed)
    return {**inputs(), 'next': inputs(), 'action': torch.randn(B, H, D), 'reward': torch.rand(B),
            'mask': torch.ones(B, H), 'imitate': torch.ones(B, H),
            'discount': torch.zeros(B), 'success': torch.arange(B) % 2.0}


def snapshot(module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b))


@pytest.mark.parametrize('form', ['copy', 'residual'])
@pytest.mark.parametrize('reference', ['frozen', 'tracks'])
def test_reference_moves_only_if_it_tracks(form, reference):
    agent = Agent({**SMALL, 'form': form, 'reference': reference}, policy())
    before, acting = snapshot(agent.reference), snapshot(agent.acting)
    for i in range(3):
        metrics = agent.update(batch(i))
    assert same(before, snapshot(agent.reference)) == (reference == 'frozen')
    assert not same(acting, snapshot(agent.acting))
    assert metrics['sample_loss'].shape == (B,) and np.isfinite(metrics['qam_loss'])


def test_policy_starts_as_the_reference():
    agent = Agent({**SMALL}, policy())
    prefix = agent.reference.encode(inputs())
    x, w = torch.randn(B, H, D), torch.rand(B)
    assert torch.equal(agent.policy.velocity(prefix, x, w), agent.reference.velocity(prefix, x, w))


def test_residual_policy_follows_the_reference_while_cloning():
    agent = Agent({**SMALL, 'form': 'residual'}, policy())
    agent.pretrain(batch())
    assert isinstance(agent.acting, ResidualFlow)
    assert same(snapshot(agent.acting.base), snapshot(agent.reference))


@pytest.mark.parametrize('value', ['divl', 'expectile'])
def test_critic_learns_rewards_and_value_reports_its_law(value):
    agent = Agent({**SMALL, 'value': value, 'actor_start': 10 ** 6,
                   'critic': {'hidden': 32, 'ema': 0.05}}, policy())
    data = batch()
    data['reward'] = data['success']
    for _ in range(300):
        metrics = agent.update(data)
    assert metrics['q_success'] > 0.8 and metrics['q_failure'] < 0.2
    agent.target.eval()
    q = agent.q_value(data, data['action'])
    assert float(q[1::2].min()) > float(q[::2].max())
    report = agent.value(data)
    assert report['quantile'].shape == (B,)
    if value == 'divl':
        assert torch.allclose(report['probs'].sum(1), torch.ones(B), atol=1e-4)


def test_q_sees_only_the_rows_that_are_executed():
    agent = Agent({'critic': {'hidden': 16, 'chunk': 'flat', 'steps': 2}}, policy())
    data = batch()
    changed = data['action'].clone()
    changed[:, 2:] += 5.0
    assert torch.equal(agent.q_value(data, data['action']), agent.q_value(data, changed))
    changed[:, 1] += 5.0
    assert not torch.equal(agent.q_value(data, data['action']), agent.q_value(data, changed))
    x = torch.randn(B, H, D, requires_grad=True)
    gradient, = torch.autograd.grad(agent.td.gradient_target(data)(x).sum(), x)
    assert gradient[:, :2].abs().min() > 0 and gradient[:, 2:].abs().max() == 0
    assert np.isfinite(agent.update(data)['qam_loss'])


def test_q_of_a_chunk_that_the_end_cut_short_ignores_its_padding():
    for chunk in ('attention', 'flat'):
        agent = Agent({'critic': {'hidden': 16, 'chunk': chunk}}, policy())
        data = batch()
        data['mask'][:, 2:] = 0
        padded = data['action'] * data['mask'][..., None]
        full = agent.q_value(data, data['action'], data['mask'])
        assert torch.allclose(agent.q_value(data, padded, data['mask']), full)
        assert not torch.allclose(agent.q_value(data, padded), full)


def test_relative_actions_enter_q_as_the_distance_from_the_joints():
    agent = Agent({'critic': {'hidden': 16, 'action': 'relative', 'action_gain': 4.0}}, policy())
    data = batch()
    action = data['joints'][:, None] + torch.full((B, H, D), 0.3)  # robot units, std 3
    seen = agent.critic.seen(data, agent.reference.normalize_action(action))
    assert torch.allclose(seen, torch.full((B, H, D), 0.4), atol=1e-5)
    assert np.isfinite(agent.update(data)['q_loss'])


@pytest.mark.parametrize(('critic', 'reason'), [
    ({'steps': 5}, 'steps = 5, but a chunk has 4'), ({'steps': -1}, 'steps = -1 must be >= 0'),
    ({'action': 'polar'}, "'polar' is not one of"), ({'action_gain': 0.0}, 'action_gain = 0.0')])
def test_a_critic_that_does_not_fit_is_refused_by_name(critic, reason):
    with pytest.raises(ValueError, match=reason):
        Agent({'critic': critic}, policy())


def test_masked_steps_reach_neither_critic_nor_clone():
    for chunk in ('attention', 'flat'):
        agent = Agent({**SMALL, 'critic': {'hidden': 16, 'chunk': chunk}}, policy())
        data = batch()
        mask = torch.ones(B, H)
        mask[:, 2:] = 0
        changed = data['action'].clone()
        changed[:, 2:] = 99.0
        z = agent.critic.encode(data)
        assert torch.equal(agent.critic.values(z, data['action'], mask),
                           agent.critic.values(z, changed, mask))
    # the clone sees neither the values nor the errors of masked steps
    net, time, noise = policy(), torch.rand(B), torch.randn(B, H, D)
    prefix = net.encode(data)
    a = flow_loss(net, prefix, data['action'], torch.zeros(B, H), noise, time)
    assert float(a.detach().abs().max()) == 0
    losses = [flow_loss(net, prefix, action, mask, noise, time).detach()
              for action in (data['action'], changed)]
    assert torch.equal(*losses)


def test_cloning_fits_the_marked_steps():
    torch.manual_seed(0)
    agent = Agent({'algorithm': 'bc', 'bc': {'learning_rate': 3e-3}}, policy())
    data = batch()
    data['action'] = torch.ones(B, H, D)
    losses = [agent.pretrain(data)['bc_loss'] for _ in range(500)]
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:20])
    chunk = agent.acting_policy().sample(agent.reference.encode(data), torch.randn(B, H, D))
    assert float((chunk - 1).abs().mean().detach()) < 0.5  # robot units: std 3, mean 2


def test_samples_without_a_step_to_imitate_count_nothing():
    net, data = policy(), batch()
    data['imitate'][B // 2:] = 0
    half = {k: v[:B // 2] for k, v in data.items() if k != 'next'}
    a = bc_loss(net, data, BcConfig(), generator=torch.Generator().manual_seed(0))
    data['action'][B // 2:] = 1e3
    b = bc_loss(net, data, BcConfig(), generator=torch.Generator().manual_seed(0))
    assert float(a.detach()) == pytest.approx(float(b.detach()))
    assert half['action'].shape[0] == B // 2


def test_clone_gradient_matches_finite_differences():
    net, data = policy().double(), batch()
    data = {k: v.double() for k, v in data.items() if k != 'next'}
    noise, time = torch.randn(B, H, D).double(), torch.rand(B).double()

    def loss() -> torch.Tensor:
        return flow_loss(net, net.encode(data), data['action'], data['mask'], noise, time).mean()

    weight = net.out.weight
    gradient, = torch.autograd.grad(loss(), weight)
    with torch.no_grad():
        weight[1, 2] += 1e-5
        above = float(loss())
        weight[1, 2] -= 2e-5
        below = float(loss())
    assert float(gradient[1, 2]) == pytest.approx((above - below) / 2e-5, rel=1e-4)


def test_agent_continues_bit_exactly():
    first = Agent({**SMALL, 'reference': 'tracks', 'acting_ema': 0.1}, policy())
    for i in range(3):
        first.update(batch(i))
    second = Agent({**SMALL, 'reference': 'tracks', 'acting_ema': 0.1}, policy(5))
    second.load_state_dict(first.state_dict())
    for i in range(3, 6):
        first.update(batch(i))
        second.update(batch(i))
    assert same(snapshot(first.acting), snapshot(second.acting))
    assert same(snapshot(first.target), snapshot(second.target))


def test_phases_differ_in_the_quantile_level():
    agent = Agent({**SMALL}, policy())
    assert agent.tau_base == 0.6
    agent.begin('online')
    assert agent.tau_base == 0.9
    with pytest.raises(ValueError, match='phase'):
        agent.begin('night')


@pytest.mark.parametrize('data, words', [
    ({'colour': 1}, "agent: unknown key 'colour'"), ({'qam': {'bet': 1}}, "agent.qam: .*'bet'"),
    ({'value': 'x'}, 'value'), ({'critic': {'chunk': 'x'}}, 'chunk')])
def test_wrong_settings_are_named(data, words):
    with pytest.raises(ValueError, match=words):
        AgentConfig.from_dict(data)


def test_paper_constants_are_the_defaults():
    c = AgentConfig()
    assert (c.qam.steps, c.qam.beta, c.qam.path_source, c.qam.learning_rate) == (
        10, 0.5, 'policy', 2e-5)
    assert (c.critic.ema, c.critic.learning_rate, c.divl.atoms, c.reference) == (
        0.005, 5e-4, 201, 'frozen')


P, U = 1, 2


@pytest.mark.parametrize('source, success, selection, expected', [
    ([P, P, P], True, 'successes_and_corrections', [1, 1, 1]),
    ([P, P, P], False, 'successes_and_corrections', [0, 0, 0]),
    ([P, U, U, P], True, 'successes_and_corrections', [0, 1, 1, 1]),
    ([P, U, U, P], False, 'successes_and_corrections', [0, 1, 1, 0]),
    ([P, U, P, U, U], False, 'successes_and_corrections', [0, 1, 0, 0, 0]),
    ([P, U, P, U, U], False, 'corrections', [0, 1, 0, 0, 0]),
    ([P, U, P, U], True, 'successes_and_corrections', [0, 1, 0, 1]),
    ([P, U, P], True, 'successes', [1, 1, 1]),
    ([P, U, P], False, 'successes', [0, 0, 0]),
    ([P, U, P], True, 'corrections', [0, 1, 0]),
    ([P, U, P], False, 'all', [1, 1, 1]),
])
def test_imitation_leaves_out_what_had_to_be_corrected(source, success, selection, expected):
    ticks = imitation_ticks(np.array(source, np.uint8), success, selection)
    assert ticks.tolist() == [bool(x) for x in expected]


def test_times_of_the_beta_schedule_lean_to_the_noise():
    generator = torch.Generator().manual_seed(0)
    assert float(sample_times(20000, 'beta', generator).mean()) == pytest.approx(0.4, abs=0.01)
    assert float(sample_times(20000, 'uniform', generator).mean()) == pytest.approx(0.5, abs=0.01)


def test_recap_advantage_of_a_perfect_value_is_zero_and_humans_are_positive():
    target = recap.returns(100, True, 200)
    assert target[-1] == 0 and target[0] == pytest.approx(-99 / 200)
    assert (recap.returns(10, False, 200) == -1).all()
    advantage = recap.advantages(target, target, 50)
    assert np.abs(advantage).max() < 1e-6
    noisy = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    level = recap.threshold(noisy, 0.4)
    assert (noisy > level).mean() == pytest.approx(0.4, abs=0.01)
    human = np.zeros(1000, bool)
    human[:10] = True
    assert (recap.signs(noisy, level, human)[:10] == 1).all()
    kept = recap.drop_signs(torch.ones(10000, 1), 0.3, torch.Generator().manual_seed(0))
    assert float(kept.mean()) == pytest.approx(0.7, abs=0.02)


def test_micro_batches_take_the_same_step(monkeypatch):
    """Without the paths' noise only the order of sums differs."""
    monkeypatch.setattr(qam, 'sde_step', lambda x, v, w, h, _: x + h * (2 * v - x / (w + h)))
    gradients = []
    for micro in (0, 3):
        agent = Agent({**SMALL, 'actor_micro': micro, 'qam': {'beta': 5.0}}, policy())
        torch.manual_seed(0)
        for head in agent.target.q:  # untrained heads hardly depend on the action
            torch.nn.init.normal_(head[-1].weight)
        agent._learn_policy(batch())
        gradients.append([p.grad for p in agent.policy.parameters()])
    assert all(torch.allclose(x, y, rtol=1e-3, atol=1e-6) for x, y in zip(*gradients))
    assert max(float(x.abs().max()) for x in gradients[0]) > 0


@pytest.mark.parametrize('form', ['copy', 'residual'])
def test_tilting_leaves_no_gradient_on_reference_and_critic_and_thaws_them(form):
    agent = Agent({**SMALL, 'form': form}, policy())
    agent.td.optimizer.zero_grad()
    agent._learn_policy(batch())
    learned = list(agent.reference.parameters()) + list(agent.critic.parameters())
    assert all(p.requires_grad and p.grad is None for p in learned)
    with pytest.raises(KeyError):
        agent._learn_policy({'action': torch.zeros(B, H, D)})
    assert all(p.requires_grad for p in learned)


def test_one_time_for_all_samples_gives_the_velocity_of_the_same_times():
    net = policy()
    prefix, x = net.encode(inputs()), torch.randn(B, H, D)
    same_time = net.velocity(prefix, x, torch.full((B,), 0.3))
    assert torch.allclose(net.velocity(prefix, x, torch.tensor([0.3]).expand(B)), same_time,
                          atol=1e-6)

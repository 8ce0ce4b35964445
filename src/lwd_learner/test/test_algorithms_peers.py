# SPDX-License-Identifier: Apache-2.0
"""The peers: filtered cloning, HG-DAgger, IQL, RECAP; each does what its definition says."""

from learner_fakes import episode
import numpy as np
import pytest
import torch
from torch import tensor

from lwd_core.flow import make_policy
from lwd_core.normalization import Normalizer
from lwd_learner.algorithms import iql, recap
from lwd_learner.algorithms.agent import Agent
from lwd_learner.algorithms.bc import bc_loss, BcConfig
from lwd_learner.algorithms.config import AgentConfig, ALGORITHMS
from lwd_learner.algorithms.figures import by_outcome_and_source
from lwd_learner.look_ahead import look_ahead
from lwd_learner.replay import imitation_rule, ReplayBuffer

H, D, J, S, B = 4, 3, 3, 2, 8
SMALL = {'critic': {'hidden': 16}, 'tilt_hidden': 8}


def policy(seed: int = 0):
    torch.manual_seed(seed)
    return make_policy(
        {'horizon': H, 'action_dim': D, 'joint_dim': J, 'state_dim': S, 'hidden': 16,
         'instruction_dim': 4},
        {'joints': Normalizer.identity(J), 'state': Normalizer.identity(S),
         'action': Normalizer.identity(D)})


def buffer_of(*episodes, selection: str = 'all') -> ReplayBuffer:
    buffer = ReplayBuffer(H, imitation=imitation_rule(selection))
    for one in episodes:
        buffer.add(one)
    return buffer


def batch(seed: int = 0) -> dict:
    walk = np.random.default_rng(seed).normal(0, 1, (20, 3)).astype(np.float32)
    changes = {'actions': walk, 'inputs': {'joints': walk, 'state': walk[:, :2]}}
    buffer = buffer_of(episode('a', **changes), episode('b', success=False, **changes))
    ticks = np.random.default_rng(seed).choice(40, B)
    return buffer.gather(ticks) | look_ahead(buffer, ticks, 5)


def weights(module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_every_algorithm_trains_and_continues_bit_exactly(algorithm):
    first = Agent({**SMALL, 'algorithm': algorithm}, policy())
    before = weights(first.acting)
    for i in range(3):
        metrics = first.update(batch(i))
    assert all(np.isfinite(x) for name, x in metrics.items()
               if isinstance(x, float) and name in ('bc_loss', 'value_loss', 'qam_loss'))
    assert any(not torch.equal(x, y) for x, y in zip(before, weights(first.acting)))
    second = Agent({**SMALL, 'algorithm': algorithm}, policy(9))
    second.load_state_dict(first.state_dict())
    for i in range(3, 5):
        first.update(batch(i))
        second.update(batch(i))
    assert all(torch.equal(x, y) for x, y in zip(weights(first.acting), weights(second.acting)))


@pytest.mark.parametrize('algorithm, imitation', [
    ('filtered_bc', 'successes'), ('dagger', 'successes_and_corrections'), ('recap', 'all'),
    ('iql', 'all'), ('bc', 'corrections'), ('lwd', 'corrections')])
def test_an_algorithm_that_defines_its_data_overrules_the_selection(algorithm, imitation):
    config = AgentConfig(algorithm=algorithm, selection='corrections')
    assert config.imitation == imitation


@pytest.mark.parametrize('algorithm', ['bc', 'filtered_bc', 'dagger', 'recap'])
def test_what_has_no_q_says_so(algorithm):
    agent = Agent({**SMALL, 'algorithm': algorithm}, policy())
    with pytest.raises(ValueError, match=f"'{algorithm}' has no Q"):
        agent.q_value(batch(), batch()['action'])


# -- IQL


def test_iql_weights_are_exponential_in_the_advantage_and_cut():
    config = iql.IqlConfig(temperature=2.0, weight_max=10.0)
    weight = iql.advantage_weights(tensor([0.5, 1.0, 5.0]), tensor([0.5, 0.5, 0.5]), config)
    assert weight.tolist() == pytest.approx([1.0, float(np.exp(1.0)), 10.0])


def test_weighted_clone_follows_the_better_of_two_actions():
    """With weight w on +1 and 1 on -1 the error's gradient is that of the weighted mean."""
    net, data = policy(), {k: v for k, v in batch().items() if torch.is_tensor(v)}
    generator = torch.Generator
    zero = torch.zeros(B)
    zero[:4] = 1.0
    half = {k: v[:4] for k, v in data.items()}
    whole = bc_loss(net, data, BcConfig(), weight=zero, generator=generator().manual_seed(0))
    data['action'][4:] = 1e3  # weight 0: says nothing
    again = bc_loss(net, data, BcConfig(), weight=zero, generator=generator().manual_seed(0))
    assert float(whole.detach()) == pytest.approx(float(again.detach()))
    assert len(half['action']) == 4


def test_iql_prefers_actions_that_earn():
    """One state, two actions: +1 earns 1, -1 nothing; cloning is pulled to +1."""
    torch.manual_seed(0)
    agent = Agent({'algorithm': 'iql', 'bc': {'learning_rate': 3e-3, 'loss': 'action'},
                   'iql': {'temperature': 10.0},
                   'critic': {'hidden': 32, 'ema': 0.1, 'learning_rate': 3e-3}},
                  make_policy({'horizon': H, 'action_dim': D, 'joint_dim': J, 'state_dim': S,
                               'hidden': 32, 'instruction_dim': 4, 'prediction': 'action'},
                              {'joints': Normalizer.identity(J), 'state': Normalizer.identity(S),
                               'action': Normalizer.identity(D)}))
    inputs = {'joints': torch.zeros(32, J), 'state': torch.zeros(32, S),
              'instruction': torch.zeros(32, 4)}
    good = torch.arange(32) % 2 == 0
    data = {**inputs, 'next': inputs, 'mask': torch.ones(32, H), 'imitate': torch.ones(32, H),
            'action': torch.where(good[:, None, None], 1.0, -1.0).expand(32, H, D).clone(),
            'reward': good.float(), 'discount': torch.zeros(32)}
    for _ in range(300):
        metrics = agent.update(data)
    acting = agent.acting_policy()
    chunk = acting.sample(acting.encode(inputs), torch.randn(32, H, D)).detach()
    assert float((chunk.mean((1, 2)) > 0).float().mean()) > 0.8
    assert metrics['weight_mean'] > 1


# -- RECAP


def test_look_ahead_gives_scaled_steps_to_success_and_the_observation_ahead():
    buffer = buffer_of(episode('a', 20), episode('b', 10, success=False), episode('c', 10))
    found = look_ahead(buffer, np.array([0, 18, 22, 35]), 5)
    assert found['return'].tolist() == pytest.approx([-19 / 20, -1 / 20, -1.0, -4 / 20])
    assert found['return_ahead'].tolist() == pytest.approx([-14 / 20, 0.0, -1.0, 0.0])
    assert found['inside'].tolist() == [True, False, True, False]
    assert found['ahead']['joints'][:, 0].tolist() == [5.0, 19.0, 7.0, 9.0]


def test_recap_value_learns_the_steps_left_and_signs_follow():
    torch.manual_seed(0)
    agent = Agent({'algorithm': 'recap', 'critic': {'hidden': 32, 'learning_rate': 3e-3}},
                  policy())
    buffer = buffer_of(*(episode(f'e{i}', 20, success=i % 2 == 0,
                                 inputs={'joints': np.full((20, 3), 1.0 - 2 * (i % 2), np.float32),
                                         'state': np.zeros((20, 2), np.float32)})
                         for i in range(4)))
    rng = np.random.default_rng(0)
    for _ in range(150):
        ticks = rng.choice(80, 32)
        agent.update(buffer.gather(ticks) | look_ahead(buffer, ticks, 5))
    value = agent.value(buffer.observations(np.array([0, 25])))['mean']
    assert float(value[0]) == pytest.approx(-9.5 / 20, abs=0.15)  # mean over its ticks
    assert float(value[1]) < -0.9


def test_recap_calls_every_human_step_positive_and_about_forty_percent_of_the_rest():
    agent = Agent({'algorithm': 'recap', 'critic': {'hidden': 16}}, policy())
    rng = np.random.default_rng(0)
    walks = [rng.normal(0, 1, (40, 3)).astype(np.float32) for _ in range(6)]
    episodes = [episode(f'e{i}', 40, success=i % 2 == 0, actions=walk,
                        source=np.full(40, 2 if i == 5 else 1, np.uint8),
                        inputs={'joints': walk, 'state': walk[:, :2]})
                for i, walk in enumerate(walks)]
    buffer = buffer_of(*episodes)
    ticks = np.arange(240)
    signs = agent.recap.signs(buffer.gather(ticks) | look_ahead(buffer, ticks, 5))[:, 0]
    assert (signs[200:] == 1).all()
    assert float((signs[:200] > 0).float().mean()) == pytest.approx(0.4, abs=0.12)


def test_a_policy_gets_the_sign_as_an_input_and_acts_as_before():
    net = policy()
    wider = recap.conditioned(net)
    data = {k: v for k, v in batch().items() if torch.is_tensor(v)}
    for sign in (-1.0, 0.0, 1.0):
        told = {**data, 'advantage': torch.full((B, 1), sign)}
        assert torch.allclose(wider.encode(told), net.encode(data), atol=1e-6)
    assert recap.conditioned(wider) is wider and wider.config()['advantage']


def test_recap_policy_acts_on_positive_where_no_sign_is_given():
    net = recap.conditioned(policy())
    with torch.no_grad():
        net.encoder[0].weight[:, -1] = 1.0
    data = {k: v for k, v in batch().items() if torch.is_tensor(v)}
    told = {**data, 'advantage': torch.ones(B, 1)}
    assert torch.equal(net.encode(data), net.encode(told))


# -- figures


def test_values_are_told_by_outcome_and_by_who_drove():
    q, v = tensor([1.0, 2.0, 3.0, 4.0]), tensor([0.0, 0.0, 1.0, 1.0])
    found = by_outcome_and_source(
        {'success': tensor([1.0, 1.0, 0.0, 0.0]), 'source': tensor([1, 2, 1, 1])}, q, v)
    assert (found['q_success'], found['q_failure']) == (1.5, 3.5)
    assert (found['q_on_human'], found['v_on_policy']) == (2.0, pytest.approx(2 / 3))
    assert np.isnan(by_outcome_and_source({'source': tensor([1, 1])}, q[:2], v[:2])['q_on_human'])

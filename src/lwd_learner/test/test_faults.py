# SPDX-License-Identifier: Apache-2.0
"""Fault injection: training stops with a reason, and nothing of it is published."""

from pathlib import Path

from learner_fakes import episode
from learner_stores import ROBOT
import numpy as np
import pytest
import torch

from lwd_core.checkpoint import list_checkpoints, read_channel
from lwd_core.store import FolderStore
from lwd_learner.audit import findings
from lwd_learner.budget import Diverged
from lwd_learner.build import fresh_policy, make_agent
from lwd_learner.config import LearnerConfig
from lwd_learner.episodes import EpisodeArraysError
from lwd_learner.online import OnlineLearner
from lwd_learner.publish import Publisher
from lwd_learner.replay import ReplayBuffer

SMALL = {
    'policy': {'horizon': 8, 'hidden': 16, 'layers': 1, 'instruction_dim': 4},
    'learning': {'batch': 16, 'imitation_batch': 8, 'metrics_every': 2, 'tensorboard': False},
    'publish': {'every_steps': 4},
    'agent': {'critic': {'hidden': 16, 'layers': 1, 'token': 8, 'queries': 1}},
}


def made(name: str, origin: str = 'online', **changes):
    rng = np.random.default_rng(sum(map(ord, name)))
    walk = np.cumsum(rng.normal(0, 0.1, (40, 14)), 0).astype(np.float32)
    return episode(name, 40, **{'origin': origin, 'actions': walk, 'inputs': {
        'joints': walk, 'state': walk[:, :5]}, **changes})


def learner_of(folder: Path, agent: dict | None = None) -> OnlineLearner:
    config = LearnerConfig.from_dict({**SMALL, 'agent': {**SMALL['agent'], **(agent or {})}})
    demos = [made('d0', 'offline'), made('d1', 'offline')]
    publisher = Publisher(FolderStore(folder / 'store'), ROBOT)
    learner = OnlineLearner(make_agent(config, fresh_policy(config, demos, 0), 0), config,
                            publisher, folder / 'work')
    for one in (*demos, made('o1')):
        learner.add(one)
    return learner


def nan_reward(learner: OnlineLearner) -> None:
    gather = learner.buffer.gather

    def poisoned(*arguments):
        batch = gather(*arguments)
        batch['reward'][0] = float('nan')
        return batch

    learner.buffer.gather = poisoned


def nan_action(learner: OnlineLearner) -> None:
    learner.buffer.column('action')[:] = np.nan


def exploding_critic(learner: OnlineLearner) -> None:
    with torch.no_grad():
        for head in learner.agent.critic.q:
            head[-1].bias.fill_(1e4)


def nan_reference(learner: OnlineLearner) -> None:
    with torch.no_grad():
        learner.agent.reference.out.weight[0, 0] = float('nan')


def infinite_gradient(learner: OnlineLearner) -> None:
    learner.agent.critic.value[-1].weight.register_hook(lambda g: g * float('inf'))


@pytest.mark.parametrize('algorithm', ['lwd', 'recap', 'iql', 'dagger'])
@pytest.mark.parametrize('fault', [nan_reference, nan_action])
def test_every_algorithm_stops_on_nan(tmp_path, algorithm, fault):
    learner = learner_of(tmp_path, {'algorithm': algorithm})
    assert learner.run(steps=2) == 2
    fault(learner)
    with pytest.raises(Diverged, match='nan at step'):
        learner.run(steps=3)
    assert learner.phase == 'fault' and learner.step() is None
    assert learner.publish() is None and list_checkpoints(learner.publisher.store) == []


@pytest.mark.parametrize(('fault', 'reason'), [
    (nan_reward, 'nan at step'), (exploding_critic, r'\|q_.*bound 10'),
    (infinite_gradient, 'value_gradient is')])
def test_a_critic_that_goes_wrong_stops_the_run(tmp_path, fault, reason):
    learner = learner_of(tmp_path)
    learner.run(steps=4)
    (before,) = list_checkpoints(learner.publisher.store)
    learner.run(steps=1)
    fault(learner)
    with pytest.raises(Diverged, match=reason):
        learner.run(steps=8)
    learner.save()
    assert learner.publish() is None
    assert list_checkpoints(learner.publisher.store) == [before]
    assert read_channel(learner.publisher.store, 'stable').digest == before.digest
    assert not (tmp_path / 'work' / 'state.safetensors').exists()


def test_an_infinite_gradient_leaves_the_weights_as_they_were(tmp_path):
    learner = learner_of(tmp_path)
    learner.run(steps=1)
    infinite_gradient(learner)
    with pytest.raises(Diverged):
        learner.run(steps=1)
    assert all(torch.isfinite(p).all() for p in learner.agent.critic.parameters())


def test_weights_that_are_not_finite_are_never_published_even_if_the_losses_were(tmp_path):
    learner = learner_of(tmp_path)
    learner.run(steps=1)
    with torch.no_grad():
        next(learner.agent.acting.parameters()).view(-1)[0] = float('nan')
    assert learner.publish() is None
    assert learner.phase == 'fault' and 'are not finite' in learner.reason
    assert list_checkpoints(learner.publisher.store) == []


# -- odd data


def buffer_of(*episodes) -> ReplayBuffer:
    buffer = ReplayBuffer(8)
    for one in episodes:
        buffer.add(one)
    return buffer


def test_oddities_of_the_data_are_said_with_what_follows():
    still = np.zeros((40, 14), np.float32)
    still[:, :3] = np.linspace(0, 1, 40)[:, None]
    found = findings(buffer_of(
        made('a', success=False), made('b', success=False),
        made('c', task='crate', actions=still)))
    text = '\n'.join(found)
    assert "task 'place' has only failures (2)" in text
    assert "task 'place' has nothing to imitate" in text
    assert "task 'crate' has a single episode" in text
    assert findings(ReplayBuffer(8)) == []
    constant = made('k', actions=still)
    assert 'action dimensions [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13] never move' in '\n'.join(
        findings(buffer_of(constant)))


def test_a_healthy_mixture_gives_no_finding():
    assert findings(buffer_of(made('a'), made('b', success=False))) == []


def test_only_failures_are_learned_from_and_logged(tmp_path, caplog):
    learner = learner_of(tmp_path)
    learner.buffer = learner.batches._buffer = ReplayBuffer(8)
    learner.add(made('f1', success=False))
    learner.add(made('f2', success=False))
    assert learner.run(steps=2) == 2
    assert 'has only failures (2)' in caplog.text


def refilled(learner: OnlineLearner, *episodes) -> OnlineLearner:
    learner.buffer = learner.batches._buffer = ReplayBuffer(8)
    for one in episodes:
        learner.add(one)
    return learner


def test_an_empty_buffer_takes_no_step_and_publishes_nothing(tmp_path):
    learner = refilled(learner_of(tmp_path))
    assert learner.run(steps=2) == 0 and learner.publish() is None
    assert learner.reason == 'waits for online episodes: 0 of 1'


def test_a_single_episode_is_learned_from_and_logged(tmp_path, caplog):
    learner = refilled(learner_of(tmp_path), made('only'))
    assert learner.run(steps=3) == 3
    assert "task 'place' has a single episode" in caplog.text
    assert all(torch.isfinite(p).all() for p in learner.agent.acting.parameters())


@pytest.mark.parametrize('algorithm', ['lwd', 'recap', 'iql', 'dagger'])
def test_actions_that_never_move_are_normalised_with_a_floor_and_logged(
        tmp_path, caplog, algorithm):
    still = np.full((40, 14), 0.3, np.float32)
    still[:, 0] = np.linspace(0, 1, 40)
    demos = [made('s0', 'offline', actions=still), made('s1', 'offline', actions=still)]
    config = LearnerConfig.from_dict(
        {**SMALL, 'agent': {**SMALL['agent'], 'algorithm': algorithm}})
    policy = fresh_policy(config, demos, 0)
    learner = OnlineLearner(make_agent(config, policy, 0), config,
                            Publisher(FolderStore(tmp_path / 'store'), ROBOT), tmp_path / 'work')
    for one in (*demos, made('s2', actions=still)):
        learner.add(one)
    assert learner.run(steps=3) == 3
    assert 'action dimensions [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13] never move' in caplog.text
    batch = learner.buffer.gather(np.arange(8))
    assert float(policy.normalize_action(batch['action']).abs().max()) < 10
    assert all(torch.isfinite(p).all() for p in learner.agent.acting.parameters())


def test_recordings_of_two_robot_specifications_are_not_mixed():
    buffer = buffer_of(made('a', robot_digest='1' * 64))
    with pytest.raises(EpisodeArraysError, match='recorded with robot specification 222222222222'):
        buffer.add(made('b', robot_digest='2' * 64))
    assert buffer.episodes == [0, 1]


def test_resumed_on_other_episodes_it_says_so(tmp_path, caplog):
    first = learner_of(tmp_path)
    first.run(steps=1)
    first.save()
    other = learner_of(tmp_path)
    other.resume()
    assert 'holds other episodes' not in caplog.text
    third = learner_of(tmp_path)
    third.buffer = third.batches._buffer = ReplayBuffer(8)
    for name in ('x', 'y', 'z'):
        third.add(made(name))
    third.resume()
    assert 'holds other episodes' in caplog.text


@pytest.mark.parametrize('algorithm', ['lwd', 'recap', 'iql', 'dagger', 'filtered_bc', 'bc'])
def test_every_algorithm_publishes_under_its_name_and_resumes_bit_exactly(tmp_path, algorithm):
    whole = learner_of(tmp_path / 'a', {'algorithm': algorithm})
    whole.run(steps=6)
    first = learner_of(tmp_path / 'b', {'algorithm': algorithm})
    first.run(steps=4)
    first.save()
    kinds = {ref.step for ref in list_checkpoints(first.publisher.store)}
    assert kinds == {4} and first.kind == f'{algorithm}_online'
    second = learner_of(tmp_path / 'b', {'algorithm': algorithm})
    torch.manual_seed(5)
    assert second.resume()
    second.run(steps=2)
    ours, theirs = (one.agent.acting_policy().state_dict() for one in (whole, second))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_replay_on_disk_is_the_same_after_a_restart(tmp_path):
    rows = []
    for _ in range(2):  # the second one finds the files of the first
        buffer = ReplayBuffer(8, directory=tmp_path / 'replay')
        for number in range(40):
            buffer.add(made(f'e{number}'))
        rows.append(buffer.gather(np.arange(0, 1600, 37))['action'].numpy().copy())
    assert np.array_equal(*rows)
    assert isinstance(buffer.column('action').base, np.memmap | np.ndarray)

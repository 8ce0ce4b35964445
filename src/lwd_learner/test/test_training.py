# SPDX-License-Identifier: Apache-2.0
"""From real bags to checkpoints: SFT, HG-DAgger, and the loop that never stops."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from learner_fakes import episode
from learner_stores import record_into, ROBOT, TASKS_FILE
import numpy as np
import pytest
import torch

from lwd_core.checkpoint import list_checkpoints, load_checkpoint, read_channel
from lwd_core.store import FolderStore
from lwd_core.task import load_tasks
from lwd_learner.budget import Budget, Diverged, Limits
from lwd_learner.build import demonstrations, fresh_policy, make_agent
from lwd_learner.config import LearnerConfig
from lwd_learner.online import OnlineLearner
from lwd_learner.publish import load_policy, Publisher
from lwd_learner.replay import ReplayError
from lwd_learner.state_io import StateError
from lwd_learner.trainer import train_dagger, train_offline, train_sft, Workspace
from lwd_learner.value import load_agent, value_trace

CONFIG = LearnerConfig.from_dict({
    'policy': {'horizon': 8, 'hidden': 16, 'layers': 1, 'instruction_dim': 4},
    'sft': {'steps': 30, 'batch': 32}, 'dagger': {'steps': 5, 'batch': 32},
    'learning': {'batch': 16, 'imitation_batch': 8, 'metrics_every': 2, 'offline_steps': 3},
    'publish': {'every_steps': 4},
    'agent': {'critic': {'hidden': 16, 'layers': 1, 'token': 8, 'queries': 1}},
})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    torch.set_num_threads(1)
    return Workspace(
        FolderStore(tmp_path / 'store'), tmp_path / 'learner', ROBOT,
        load_tasks(TASKS_FILE), config=CONFIG)


@pytest.fixture
def record(workspace: Workspace):
    return partial(record_into, workspace.store.path)


def weights(workspace: Workspace, ref) -> dict[str, np.ndarray]:
    return dict(load_checkpoint(workspace.store, ref, ROBOT).tensors)


def test_sft_turns_recorded_demonstrations_into_the_stable_checkpoint(workspace, record):
    record('e1', human=(0, 30))
    record('e2', human=(0, 30), seed=1)
    record('e3', outcome='failure')
    ref = train_sft(workspace)
    contents = load_checkpoint(workspace.store, ref, ROBOT)
    assert read_channel(workspace.store, 'stable').digest == ref.digest
    assert contents.kind == 'sft' and contents.metrics['episodes'] == 2
    assert contents.config['state_dim'] == len(ROBOT.state_names)
    assert np.isfinite(contents.metrics['bc_loss'])


def test_sft_is_the_same_for_the_same_seed_and_differs_for_another(workspace, record):
    record('e1', human=(0, 30))
    first, second = train_sft(workspace), train_sft(workspace)
    other = train_sft(replace(workspace, seed=1))
    for name, array in weights(workspace, first).items():
        assert np.array_equal(array, weights(workspace, second)[name]), name
    assert not np.array_equal(
        weights(workspace, first)['out.weight'], weights(workspace, other)['out.weight'])


def test_no_demonstration_is_an_error_that_says_what_to_do(workspace, record):
    with pytest.raises(ReplayError, match='record one first'):
        train_sft(workspace)
    record('e1', outcome='failure', human=(0, 30))
    with pytest.raises(ReplayError, match='no successful demonstration among 1 episodes'):
        train_sft(workspace)


def test_dagger_continues_from_the_sft_policy_with_its_normalisation(workspace, record):
    record('e1', human=(0, 30))
    sft = train_sft(workspace)
    record('e2', human=(10, 20), outcome='failure', seed=5)
    dagger = train_dagger(workspace, sft)
    a, b = (load_checkpoint(workspace.store, ref) for ref in (sft, dagger))
    assert a.normalization == b.normalization
    assert not np.array_equal(a.tensors['out.weight'], b.tensors['out.weight'])
    assert read_channel(workspace.store, 'stable').digest == sft.digest


def learner_of(tmp_path: Path, config: LearnerConfig = CONFIG, seed: int = 0) -> OnlineLearner:
    demos = [made('d0', 'offline'), made('d1', 'offline')]
    policy = fresh_policy(config, demos, seed)
    agent = make_agent(config, policy, seed)
    publisher = Publisher(FolderStore(tmp_path / 'store'), ROBOT, keep=config.publish.keep)
    learner = OnlineLearner(agent, config, publisher, tmp_path / 'work', seed)
    for one in demos:
        learner.add(one)
    return learner


def made(name: str, origin: str, **changes):
    rng = np.random.default_rng(sum(map(ord, name)))
    walk = np.cumsum(rng.normal(0, 0.1, (40, 14)), 0).astype(np.float32)
    return episode(name, 40, origin=origin, instruction=np.ones(4, np.float32), actions=walk,
                   inputs={'joints': walk, 'state': walk[:, :5]}, **changes)


def test_offline_phase_then_waits_then_goes_online(tmp_path):
    learner = learner_of(tmp_path)
    assert learner.run(steps=10) == 3 and learner.phase == 'waiting'
    assert 'waits for online episodes: 0 of 1' in learner.reason
    learner.add(made('o1', 'online', success=False))
    assert learner.run(steps=2) == 2
    assert (learner.phase, learner.agent.phase, learner.step_count) == ('online', 'online', 5)


def test_offline_budget_is_used_first_and_on_offline_data_only(tmp_path):
    learner = learner_of(tmp_path)
    learner.add(made('o1', 'online'))
    seen = []
    update = learner.agent.update
    learner.agent.update = lambda batch, imitation: (
        seen.append(batch['origin'].float().mean().item()), update(batch, imitation))[1]
    learner.run(steps=3)
    assert learner.phase == 'offline' and seen == [0.0, 0.0, 0.0]
    learner.run(steps=1)
    assert learner.phase == 'online' and seen[3] > 0


def test_checkpoints_come_every_n_steps_and_name_their_parent(tmp_path):
    learner = learner_of(tmp_path)
    learner.add(made('o1', 'online'))
    learner.run(steps=9)
    refs = list_checkpoints(learner.publisher.store)
    assert [ref.step for ref in refs] == [4, 8]
    second = load_checkpoint(learner.publisher.store, refs[1])
    assert second.parent == refs[0].digest
    assert read_channel(learner.publisher.store, 'stable').digest == refs[1].digest
    assert learner.publish().step == 9 and learner.publish() is None


def test_old_checkpoints_go_but_never_what_a_channel_means(tmp_path):
    config = CONFIG.override(publish={'keep': 2, 'every_steps': 1})
    learner = learner_of(tmp_path, config)
    learner.add(made('o1', 'online'))
    learner.run(steps=5)
    assert [ref.step for ref in list_checkpoints(learner.publisher.store)] == [4, 5]


def test_diverged_run_stops_with_a_reason_and_never_publishes(tmp_path):
    learner = learner_of(tmp_path)
    learner.add(made('o1', 'online'))
    learner.run(steps=1)
    with torch.no_grad():
        next(learner.agent.critic.parameters()).fill_(float('nan'))
    with pytest.raises(Diverged, match='is nan at step 1'):
        learner.run(steps=10)
    assert learner.phase == 'fault' and 'nan' in learner.reason
    assert learner.publish() is None and learner.step() is None
    learner.save()
    assert list_checkpoints(learner.publisher.store) == []
    assert not (tmp_path / 'work' / 'state.safetensors').exists()


@pytest.mark.parametrize(('metrics', 'what'), [
    ({'q_mean': 11.0}, 'q_mean'), ({'value_loss': 60.0}, 'value_loss'),
    ({'qam_loss': float('inf')}, 'qam_loss'),
])
def test_exploding_metrics_are_caught(metrics, what):
    with pytest.raises(Diverged, match=what):
        Limits().check(3, metrics)
    Limits().check(3, {'q_success': float('nan'), 'q_loss': 50.0, 'qam_loss': 1e6})


def test_resumed_run_continues_to_the_last_bit(tmp_path):
    whole = learner_of(tmp_path / 'a')
    whole.add(made('o1', 'online', success=False))
    whole.run(steps=6)
    first = learner_of(tmp_path / 'b')
    first.add(made('o1', 'online', success=False))
    first.run(steps=3)
    first.save()
    torch.manual_seed(99)
    second = learner_of(tmp_path / 'b', seed=7)
    second.add(made('o1', 'online', success=False))
    assert second.resume() and second.step_count == 3
    second.run(steps=3)
    ours, theirs = (one.agent.acting_policy().state_dict() for one in (whole, second))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert all(torch.equal(x, y) for x, y in zip(
        whole.agent.critic.parameters(), second.agent.critic.parameters(), strict=True))


def test_only_failures_still_learn_a_value_and_imitate_nothing(tmp_path):
    learner = learner_of(tmp_path)
    learner.buffer = type(learner.buffer)(8)
    learner.add(made('o1', 'online', success=False))
    assert learner.run(steps=2) == 2
    assert learner.buffer.imitation_starts() == {}


def test_updates_wait_when_they_are_far_ahead_of_the_data(tmp_path):
    config = CONFIG.override(learning={'updates_per_transition': 0.1, 'offline_steps': 0})
    learner = learner_of(tmp_path, config)
    learner.add(made('o1', 'online'))
    assert learner.run(steps=50) == 4  # 40 transitions
    assert 'waits for data' in learner.reason


def test_status_tells_phase_buffers_and_corrections(tmp_path):
    learner = learner_of(tmp_path)
    learner.add(made('o1', 'online', source=np.full(40, 2, np.uint8)))
    learner.run(steps=4)
    status = learner.status()
    assert (status.phase, status.step, status.episodes) == ('online', 4, (2, 1))
    assert status.transitions == (80, 40)
    assert np.isfinite([status.metric('q_human'), status.metric('q_policy'),
                        status.metric('value_loss'), status.data_wait_share]).all()
    assert np.isnan(status.metric('unheard_of'))


def test_value_of_every_tick_of_a_recording(workspace, record):
    record('e1', human=(0, 30))
    policy, _ = load_policy(workspace.store, train_sft(workspace), ROBOT)
    learner = OnlineLearner(
        make_agent(CONFIG, policy, 0), CONFIG, Publisher(workspace.store, ROBOT),
        workspace.work_dir)
    for one in workspace.load_episodes():
        learner.add(one)
    learner.run(steps=2)
    learner.save()
    folder = workspace.store.local('episodes/robot1/2026-01-01/e1')
    trace = value_trace(workspace.work_dir, folder, workspace.ingest_settings(), CONFIG)
    assert trace['mean'].shape == (30,) and trace['probs'].shape == (30, 201)
    assert (trace['low'] <= trace['high']).all() and trace['source'].tolist() == [2] * 30
    assert np.isfinite(trace['q']).all()


def test_budget_ends_by_steps_or_by_seconds():
    assert len(list(Budget(5))) == 5
    now = iter(range(100))
    assert len(list(Budget(50, 3.0, lambda: float(next(now))))) == 2


def test_demonstrations_are_successes_without_the_policy():
    human = np.full(20, 2, np.uint8)
    episodes = [episode('a', source=human), episode('b'), episode('c', source=human, success=False)]
    assert [one.episode_id for one in demonstrations(episodes)] == ['a']


def test_offline_phase_leaves_a_checkpoint_and_its_critic(workspace, record):
    record('e1', human=(0, 30))
    record('e2', outcome='failure')
    sft = train_sft(workspace)
    ref = train_offline(workspace, sft, steps=4)
    contents = load_checkpoint(workspace.store, ref, ROBOT)
    assert (contents.kind, contents.step, contents.parent) == ('lwd_offline', 4, sft.digest)
    assert load_agent(workspace.work_dir / 'offline', CONFIG).step == 4


def test_full_disk_delays_publishing_and_learning_goes_on(tmp_path, monkeypatch):
    learner = learner_of(tmp_path)
    learner.add(made('o1', 'online'))
    now = [1e9]
    learner._clock = lambda: now[0]
    monkeypatch.setattr(learner.publisher.store, 'put', full_disk)
    assert learner.run(steps=6) == 6
    assert 'cannot publish step 4: [Errno 28] no space' in learner.status().reason
    monkeypatch.undo()
    now[0] += 11.0
    learner.run(steps=1)
    assert [ref.step for ref in list_checkpoints(learner.publisher.store)] == [7]
    assert learner.status().reason == ''


def full_disk(*_) -> None:
    raise OSError(28, 'no space')


def test_state_of_another_configuration_is_refused(tmp_path):
    first = learner_of(tmp_path)
    first.add(made('o1', 'online'))
    first.run(steps=1)
    first.save()
    other = learner_of(tmp_path, CONFIG.override(agent={'critic': {'hidden': 24}}))
    with pytest.raises(StateError, match='does not fit the configuration'):
        other.resume()


def test_a_deployment_that_ends_anneals_imitation_and_one_that_does_not_never(tmp_path):
    scales = {}
    for seconds in (0.0, 10.0):
        config = CONFIG.override(learning={'offline_steps': 0, 'anneal_after': 5.0,
                                           'anneal_seconds': seconds})
        learner = learner_of(tmp_path / str(seconds), config)
        learner.add(made('o1', 'online'))
        now, rates = [100.0], []
        learner._clock = lambda now=now: now[0]
        for now[0] in (100.0, 105.0, 110.0, 115.0, 1000.0):
            learner.step()
            rates.append(learner.agent.state_dict()['scale'])
        scales[seconds] = rates
    assert len(set(scales[0.0])) == 1
    first, begins, half, ended, after = scales[10.0]
    assert first == begins and ended == after == pytest.approx(0.02 * first)
    assert half == pytest.approx(0.51 * first)

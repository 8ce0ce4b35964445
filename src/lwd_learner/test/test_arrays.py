# SPDX-License-Identifier: Apache-2.0
"""Datasets given as arrays: what is refused, how rewards map, and that better is preferred."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lwd_learner import arrays
from lwd_learner.algorithms.divl import DivlConfig
from lwd_learner.arrays import DatasetError, ValueMapping
from lwd_learner.arrays.replay import ArrayReplay, policy_inputs
from lwd_learner.arrays.train import check_range, normalizer

TINY = {
    'policy': {'horizon': 1, 'hidden': 32, 'layers': 2},
    'sft': {'steps': 200, 'batch': 64},
    'learning': {'offline_steps': 260, 'batch': 64},
    'agent': {
        'acting_ema': 0.0, 'actor_start': 60, 'actor_every': 2, 'actor_batch': 0,
        'bc': {'learning_rate': 3e-3, 'loss': 'action'},
        'critic': {'hidden': 32, 'layers': 1, 'chunk': 'flat', 'learning_rate': 3e-3, 'ema': 0.05},
        'qam': {'beta': 5.0, 'learning_rate': 2e-3},
    },
}


def bandit(rows: int = 400, seed: int = 0) -> dict[str, np.ndarray]:
    """One step an episode: +0.5 earns 130 and -0.5 earns 70, each taken half of the time."""
    rng = np.random.default_rng(seed)
    good = np.arange(rows) % 2 == 0
    actions = np.where(good, 0.5, -0.5)[:, None] + 0.02 * rng.standard_normal((rows, 1))
    return {
        'observations': rng.standard_normal((rows, 2)).astype(np.float32),
        'actions': actions.astype(np.float32),
        'rewards': np.where(good, 130.0, 70.0).astype(np.float32),
        'terminals': np.ones(rows, np.float32), 'timeouts': np.zeros(rows, np.float32)}


def chain(*, terminals=(3,), timeouts=(6,), rewards=(1, 2, 3, 4, 5, 6, 7)) -> arrays.Dataset:
    n = len(rewards)
    flags = {'terminals': np.zeros(n), 'timeouts': np.zeros(n)}
    flags['terminals'][list(terminals)] = 1
    flags['timeouts'][list(timeouts)] = 1
    return arrays.from_arrays({
        'observations': np.arange(n, dtype=np.float32)[:, None],
        'actions': np.linspace(-1, 1, n)[:, None], 'rewards': np.array(rewards, np.float32),
        **flags})


def with_(**changes) -> dict[str, np.ndarray]:
    return {**bandit(20), **changes}


# -- better is preferred


def test_a_policy_trained_on_a_bandit_prefers_the_better_of_two_actions():
    torch.set_num_threads(1)
    data = arrays.from_arrays(bandit())
    trained = arrays.train(data, arrays.default_config(TINY), seed=1)
    draws = np.array([trained.policy.act([0.1, -0.2], seed)[0, 0] for seed in range(200)])
    assert (draws > 0).mean() > 0.8, draws  # e^5 to 1 at the optimum, 1 to 1 in the data
    value = trained.agent.q_value(policy_inputs(np.zeros((2, 2), np.float32), 1),
                                  torch.tensor([[[0.5]], [[-0.5]]]))
    assert np.allclose(trained.policy.mapping.returns(value.numpy()), [130, 70], atol=6)


def test_cloning_alone_keeps_both_actions():
    torch.set_num_threads(1)
    config = arrays.default_config({**TINY, 'agent': {**TINY['agent'], 'algorithm': 'bc'}})
    policy = arrays.train(arrays.from_arrays(bandit()), config, seed=1).policy
    draws = np.array([policy.act([0.1, -0.2], seed)[0, 0] for seed in range(200)])
    assert 0.3 < (draws > 0).mean() < 0.7


def test_a_saved_policy_acts_as_before(tmp_path: Path):
    config = arrays.default_config({**TINY, 'sft': {'steps': 2}, 'learning': {'offline_steps': 2}})
    trained = arrays.train(arrays.from_arrays(bandit(50)), config)
    trained.save(tmp_path / 'store')
    loaded = arrays.load_policy(str(tmp_path / 'store'))
    chunk = loaded.act(np.ones(2), seed=3)
    assert chunk.shape == (1, 1) and chunk.dtype == np.float32 and np.abs(chunk).max() <= 1
    assert np.array_equal(chunk, trained.policy.act(np.ones(2), seed=3))
    assert loaded.mapping == trained.policy.mapping


@pytest.mark.parametrize(('observation', 'message'), [
    ([1.0, 2.0, 3.0], r'shape \[3\], must be \[2\]'), ([1.0, np.nan], r'observation\[1\] is nan')])
def test_a_policy_refuses_other_observations(observation, message):
    config = arrays.default_config({**TINY, 'sft': {'steps': 1}, 'learning': {'offline_steps': 1}})
    policy = arrays.train(arrays.from_arrays(bandit(20)), config).policy
    with pytest.raises(ValueError, match=message):
        policy.act(observation)


# -- rewards


def test_returns_map_to_values_and_back():
    data = chain(rewards=(-100, 0, 30, 5, -7, 2, 1))
    mapping = ValueMapping.from_data(data, 0.9)
    returns = arrays.returns_to_go(data, 0.9)
    assert returns[1] == pytest.approx(0 + 0.9 * 30 + 0.81 * 5)
    values = mapping.value(returns)
    assert values.min() == 0 and values.max() == 1
    assert mapping.returns(values) == pytest.approx(returns)


@pytest.mark.parametrize('n_step', [1, 2, 5])
def test_mapped_targets_are_the_mapping_of_targets(n_step: int):
    data, gamma = chain(rewards=(-100, 0, 30, 5, -7, 2, 1)), 0.9
    mapping = ValueMapping(-120.0, 60.0)
    replay = ArrayReplay(data, mapping, horizon=2, gamma=gamma)
    batch = replay.gather(replay.starts, n_step)
    returns = arrays.returns_to_go(data, gamma)
    rows = batch['next']['state'][:, 0].numpy().astype(int)
    target = batch['reward'].numpy() + batch['discount'].numpy() * mapping.value(returns[rows])
    assert mapping.returns(target) == pytest.approx(returns[replay.starts], abs=1e-3)


def test_a_cut_recording_is_valued_as_if_it_went_on():
    data = chain(terminals=(2,), timeouts=(6,), rewards=(0, 0, 5, -1, -1, -1, -1))
    returns = arrays.returns_to_go(data, 0.99)
    assert returns[3:] == pytest.approx(-100)  # -1 forever; -3.9 is what was seen of it
    assert returns[:3] == pytest.approx([4.90050, 4.95, 5.0])


def test_a_short_cut_recording_does_not_stretch_the_range():
    rewards = np.array([*[1.0] * 200, 50.0, 50.0])
    data = chain(terminals=(), timeouts=(199, 201), rewards=rewards)
    mapping = ValueMapping.from_data(data, 0.99)
    assert 100 < mapping.high < 300  # 50 forever would be 5000


def test_the_row_before_a_cut_bootstraps_and_the_cut_row_starts_nothing():
    replay = ArrayReplay(chain(), ValueMapping(0.0, 1.0), horizon=4, gamma=0.5)
    assert replay.starts.tolist() == [0, 1, 2, 3, 4, 5]
    batch = replay.gather(np.array([0, 3, 5]))
    assert batch['discount'].tolist() == [0.0, 0.0, 0.5]
    assert batch['reward'].tolist() == [1 + 1 + 0.75 + 0.5, 4.0, 6.0]
    assert batch['next']['state'][2, 0] == 6.0
    assert batch['mask'].sum(1).tolist() == [4, 1, 1]


def test_an_observation_that_never_varies_keeps_its_scale():
    norm = normalizer(np.array([[5.0, 1e-4], [5.0, 3e-4]], np.float32))
    assert norm.std.tolist() == pytest.approx([1.0, 1e-4])


# -- bad input


@pytest.mark.parametrize(('changes', 'message'), [
    ({'actions': np.zeros((20, 0))}, r"'actions' has shape \[20, 0\], must be \[20, d\]"),
    ({'actions': np.zeros((19, 1))}, r"'actions' has shape \[19, 1\], must be \[20, d\]"),
    ({'rewards': np.zeros((20, 1))}, r"'rewards' has shape \[20, 1\], must be \[20\]"),
    ({'observations': np.zeros(20)}, r"'observations' has shape \[20\], must be \[20, o\]"),
    ({'rewards': np.array(['a'] * 20)}, "'rewards' is of type <U1, must be float32"),
    ({'rewards': np.array([0.0] * 7 + [np.nan] * 13)}, r"'rewards'\[7\] is nan"),
    ({'observations': np.full((20, 2), np.inf)}, r"'observations'\[0, 0\] is inf"),
    ({'actions': np.linspace(0, 3, 20)[:, None]},
     r"'actions'\[7, 0\] is 1.10526, must be in \[-1, 1\]; the data reach from 0 to 3"),
    ({'actions': np.full((20, 1), 0.5)}, "'actions' are constant over 20 rows"),
    ({'terminals': np.zeros(20)}, "neither 'terminals' nor 'timeouts' marks a row"),
    ({'terminals': np.eye(20)[19]}, 'the 20 rows are a single episode'),
    ({'terminals': np.full(20, 2.0)}, r"'terminals'\[0\] is 2, must be 0 or 1"),
    ({'rewards': np.zeros(0)}, "'rewards' has 0 rows: the dataset is empty"),
])
def test_bad_arrays_are_refused_by_name(changes, message):
    with pytest.raises(DatasetError, match=message):
        arrays.from_arrays(with_(**changes))


def test_a_missing_key_is_named_with_those_that_are_there(tmp_path: Path):
    incomplete = {key: value for key, value in bandit(20).items() if key != 'timeouts'}
    np.savez(tmp_path / 'a.npz', **incomplete)
    with pytest.raises(DatasetError, match="a.npz: key 'timeouts' is missing; there are actions, "
                                           'observations, rewards, terminals'):
        arrays.load_npz(tmp_path / 'a.npz')


def test_pickled_objects_are_never_loaded(tmp_path: Path):
    np.savez(tmp_path / 'a.npz', **with_(rewards=np.array([{}] * 20, object)))
    with pytest.raises(DatasetError, match=r'a.npz: cannot be read as .npz .*allow_pickle'):
        arrays.load_npz(tmp_path / 'a.npz')


@pytest.mark.parametrize('content', [b'', b'not a zip', b'PK\x03\x04cut'])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / 'a.npz').write_bytes(content)
    with pytest.raises(DatasetError, match=r'a.npz: cannot be read as .npz'):
        arrays.load_npz(tmp_path / 'a.npz')


def test_equal_returns_everywhere_are_refused():
    with pytest.raises(DatasetError, match='every row earns the same'):
        ValueMapping.from_data(arrays.from_arrays(with_(rewards=np.ones(20))), 0.99)


def test_a_good_file_is_read_whole(tmp_path: Path):
    np.savez(tmp_path / 'a.npz', **bandit(20), infos=np.zeros(3))
    data = arrays.load_npz(tmp_path / 'a.npz')
    assert len(data) == 20 and len(data.ends) == 20 and data.terminals.dtype == bool


@pytest.mark.parametrize('algorithm', ['dagger', 'filtered_bc', 'recap'])
def test_algorithms_that_need_outcomes_are_refused_for_arrays(algorithm):
    config = arrays.default_config({'agent': {'algorithm': algorithm}})
    with pytest.raises(DatasetError, match=f"'{algorithm}' asks for outcomes"):
        arrays.train(arrays.from_arrays(bandit(20)), config)


def test_returns_beyond_the_support_are_logged_and_refused_where_all_are(caplog):
    data = arrays.from_arrays(bandit(20))  # returns 70 and 130
    check_range(data, ValueMapping(60.0, 140.0), 0.99, DivlConfig())
    assert not caplog.records
    check_range(data, ValueMapping(60.0, 100.0), 0.99, DivlConfig())
    assert '50.0 % of the rows have returns outside [56, 104]' in caplog.text
    with pytest.raises(DatasetError, match='every return lies outside'):
        check_range(data, ValueMapping(0.0, 1.0), 0.99, DivlConfig())


def test_iql_learns_from_arrays_too():
    torch.set_num_threads(1)
    config = arrays.default_config({
        **TINY, 'sft': {'steps': 20}, 'learning': {'offline_steps': 20, 'batch': 64},
        'agent': {'algorithm': 'iql', 'critic': {'hidden': 16, 'layers': 1, 'chunk': 'flat'}}})
    trained = arrays.train(arrays.from_arrays(bandit()), config)
    assert np.isfinite(trained.metrics['value_loss'])
    assert trained.policy.act(np.zeros(2)).shape == (1, 1)

# SPDX-License-Identifier: Apache-2.0
"""The buffer hands out exactly the ticks it was given."""

from pathlib import Path
import time

from learner_fakes import episode
import numpy as np
import pytest

from lwd_learner.episodes import EpisodeArrays, EpisodeArraysError
from lwd_learner.replay import ReplayBuffer, ReplayError


def test_chunk_stays_within_its_episode():
    buffer = ReplayBuffer(horizon=8)
    buffer.add(episode('a', 10))
    buffer.add(episode('b', 10))
    batch = buffer.gather(np.array([0, 7, 15]))
    assert batch['action'][0, :, 0].tolist() == list(range(8))
    assert batch['action'][1, :, 0].tolist() == [7, 8, 9, 0, 0, 0, 0, 0]
    assert batch['mask'][1].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert batch['action'][2, :, 0].tolist() == [5, 6, 7, 8, 9, 0, 0, 0]
    assert batch['next']['joints'][0, 0] == 8


def test_every_tick_of_a_finished_episode_is_a_start():
    buffer = ReplayBuffer(horizon=8)
    assert buffer.add(episode('a', 10)) == 10
    assert buffer.add(episode('b', 10, terminal=False, success=False)) == 9


def test_nothing_is_learned_across_a_gap():
    gaps = np.zeros(20, bool)
    gaps[9] = True
    buffer = ReplayBuffer(horizon=8)
    buffer.add(episode('a', 20, gaps=gaps))
    batch = buffer.gather(np.array([6]))
    assert batch['action'][0, :, 0].tolist() == [6, 7, 8, 0, 0, 0, 0, 0]
    assert batch['next']['joints'][0, 0] == 9  # the last contiguous observation
    assert 9 not in buffer.starts(0, 0)


def test_sources_follow_the_ticks():
    source = np.array([1] * 5 + [0] + [2] * 4, np.uint8)
    buffer = ReplayBuffer(horizon=4)
    buffer.add(episode('a', 10, source=source))
    batch = buffer.gather(np.array([3]))
    assert batch['sources'][0].tolist() == [1, 1, 0, 2]
    assert buffer.all_starts(sources=[2])[0].tolist() == [6, 7, 8, 9]


def test_selection_by_success_keeps_tasks_apart():
    buffer = ReplayBuffer(horizon=4)
    buffer.add(episode('a', 5))
    buffer.add(episode('b', 5, success=False))
    buffer.add(episode('c', 5, task='crate', origin='online'))
    chosen = buffer.all_starts(success=True)
    assert {task: starts.tolist() for task, starts in chosen.items()} == {
        0: [0, 1, 2, 3, 4], 1: [10, 11, 12, 13, 14]
    }
    assert buffer.all_starts(origins=[1])[1].tolist() == [10, 11, 12, 13, 14]


@pytest.mark.parametrize('on_disk', [False, True])
def test_buffer_grows_beyond_its_first_rows(tmp_path: Path, on_disk: bool):
    buffer = ReplayBuffer(horizon=8, directory=tmp_path if on_disk else None)
    for number in range(5):
        buffer.add(episode(f'e{number}', 900))
    assert len(buffer) == 4500
    ticks = np.array([0, 899, 900, 4499])
    assert buffer.observations(ticks)['joints'][:, 0].tolist() == [0, 899, 0, 899]


def test_episode_survives_the_cache_file(tmp_path: Path):
    original = episode('a', 7, recorded_ns=2**60 + 1, success=False, origin='online')
    original.save(tmp_path / 'a.safetensors')
    again = EpisodeArrays.load(tmp_path / 'a.safetensors')
    assert (again.recorded_ns, again.success, again.origin) == (2**60 + 1, False, 'online')
    assert np.array_equal(again.inputs['state'], original.inputs['state'])
    assert again.gaps.dtype == np.bool_


@pytest.mark.parametrize(('change', 'message'), [
    ({'actions': np.full((20, 3), np.nan, np.float32)}, "'actions' is not finite at row 0"),
    ({'source': np.zeros(3, np.uint8)}, "'source' has 3 rows, actions have 20"),
    ({'origin': 'elsewhere'}, 'elsewhere'),
    ({'actions': np.zeros((0, 3), np.float32)}, 'no ticks'),
])
def test_unusable_episode_is_refused_by_name(change, message):
    with pytest.raises(EpisodeArraysError, match=message):
        episode('a', 20, **change)


def test_episode_of_another_robot_leaves_the_buffer_untouched():
    buffer = ReplayBuffer(horizon=8)
    buffer.add(episode('a', 10))
    with pytest.raises(EpisodeArraysError, match='another robot'):
        buffer.add(episode('b', 10, actions=np.zeros((10, 5), np.float32)))
    assert len(buffer) == 10 and len(buffer.column('source')) == 10
    with pytest.raises(ReplayError, match='already'):
        buffer.add(episode('a', 10))


def test_replay_age_is_the_mean_age_of_online_episodes():
    buffer = ReplayBuffer(horizon=4)
    buffer.add(episode('a', 5, recorded_ns=1))
    assert np.isnan(buffer.age_s(10))
    buffer.add(episode('b', 5, origin='online', recorded_ns=4_000_000_000))
    buffer.add(episode('c', 5, origin='online', recorded_ns=8_000_000_000))
    assert buffer.age_s(10_000_000_000) == pytest.approx(4.0)


def test_gather_of_a_batch_is_fast():
    buffer = ReplayBuffer(horizon=16)
    wide = {'joints': np.zeros((500, 14), np.float32), 'state': np.zeros((500, 60), np.float32)}
    for number in range(40):
        buffer.add(episode(
            f'e{number}', 500, inputs=wide, actions=np.zeros((500, 14), np.float32)
        ))
    ticks = np.random.default_rng(0).integers(0, len(buffer), 256)
    best = min(_timed(lambda: buffer.gather(ticks, 10)) for _ in range(50))
    assert best < 5e-3  # measured 0.3 ms; the bound leaves room for a busy machine


def _timed(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def test_successes_and_corrections_are_imitated_but_never_a_held_pose():
    source = np.array([1, 1, 0, 2, 2, 1], np.uint8)
    buffer = ReplayBuffer(horizon=4)
    buffer.add(episode('a', 6, source=source, success=False))
    buffer.add(episode('b', 6, source=source, success=True))
    assert buffer.imitation_starts()[0].tolist() == [3, 4, 9, 10, 11]
    assert buffer.gather(np.array([1]))['imitate'][0].tolist() == [0, 0, 1, 1]
    assert buffer.gather(np.array([7]))['imitate'][0].tolist() == [0, 0, 1, 1]

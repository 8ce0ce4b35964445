# SPDX-License-Identifier: Apache-2.0
"""SOP's sampler: its exact numbers, its cold start, its fairness over tasks."""

from learner_fakes import episode
import numpy as np
import pytest

from lwd_learner.replay import ReplayBuffer, ReplayError
from lwd_learner.sampler import AdaptiveSampler, draw_uniform, online_share, SamplerConfig


@pytest.mark.parametrize(('loss_on', 'loss_off', 'share'), [
    (0.5, 0.5, 0.6225), (0.0, 2.0, 0.2), (2.0, 0.0, 0.8), (0.0, 1e9, 0.2), (1e9, 0.0, 0.8),
])
def test_online_share_matches_the_exact_cases(loss_on, loss_off, share):
    config = SamplerConfig(boost=2.0)
    assert online_share(loss_on, loss_off, config) == pytest.approx(share, abs=5e-5)


def fill(sampler: AdaptiveSampler, task: int, origin: int, count: int, loss: float) -> None:
    keys = np.full(count, task), np.full(count, origin)
    sampler.record(*keys, np.full(count, loss, np.float32))


def test_share_is_one_half_until_both_windows_are_full():
    sampler = AdaptiveSampler()
    fill(sampler, 0, 0, 200, 0.0)
    fill(sampler, 0, 1, 199, 2.0)
    assert sampler.share(0, has_online=True) == 0.5
    fill(sampler, 0, 1, 1, 2.0)
    assert sampler.share(0, has_online=True) == pytest.approx(0.8)


def test_mean_is_over_the_last_two_hundred_losses():
    sampler = AdaptiveSampler()
    fill(sampler, 0, 0, 500, 9.0)
    fill(sampler, 0, 0, 200, 0.5)
    fill(sampler, 0, 1, 200, 0.5)
    assert sampler.share(0, has_online=True) == pytest.approx(0.6225, abs=5e-5)


def test_losses_that_are_not_finite_are_not_remembered():
    sampler = AdaptiveSampler()
    fill(sampler, 0, 1, 300, float('nan'))
    fill(sampler, 0, 0, 300, 0.0)
    assert sampler.share(0, has_online=True) == 0.5


def buffer_of(*episodes) -> ReplayBuffer:
    buffer = ReplayBuffer(horizon=4)
    for one in episodes:
        buffer.add(one)
    return buffer


def test_only_offline_data_while_a_task_has_no_online_data():
    buffer = buffer_of(
        episode('a', 50), episode('b', 50, task='crate'),
        episode('c', 50, task='crate', origin='online'),
    )
    drawn = AdaptiveSampler().draw(buffer, 4000)
    assert np.mean(drawn < 50) == pytest.approx(0.5, abs=0.05)
    assert np.mean(drawn >= 100) == pytest.approx(0.25, abs=0.05)


def test_tasks_are_drawn_equally_whatever_their_length():
    buffer = buffer_of(episode('a', 5), episode('b', 5000, task='crate'))
    drawn = AdaptiveSampler().draw(buffer, 4000)
    assert np.mean(drawn < 5) == pytest.approx(0.5, abs=0.05)
    drawn = draw_uniform(buffer.all_starts(), 4000, np.random.default_rng(0))
    assert np.mean(drawn < 5) == pytest.approx(0.5, abs=0.05)


def test_empty_buffer_is_an_error_that_says_what_to_do():
    with pytest.raises(ReplayError, match='ingest an episode first'):
        AdaptiveSampler().draw(ReplayBuffer(horizon=4), 8)
    with pytest.raises(ReplayError, match='no demonstration or success'):
        draw_uniform({}, 8, np.random.default_rng(0))


def test_restored_sampler_draws_the_same_batches():
    buffer = buffer_of(episode('a', 50), episode('b', 50, origin='online'))
    first = AdaptiveSampler(seed=3)
    fill(first, 0, 0, 200, 0.1)
    fill(first, 0, 1, 200, 0.9)
    first.draw(buffer, 16)
    second = AdaptiveSampler(seed=99)
    second.load_state_dict(first.state_dict())
    assert np.array_equal(first.draw(buffer, 64), second.draw(buffer, 64))

# SPDX-License-Identifier: Apache-2.0
"""Chunk transitions against the cases of algorithm.md, section 6, and its rules of section 1."""

import numpy as np
import pytest

from lwd_learner.transitions import annotate, returns, startable, Ticks

GAMMA = 0.9999


def one(remaining: int, *, terminal: bool, success: bool, horizon: int = 30, n: int = 1):
    ticks = Ticks(np.array([remaining]), np.array([terminal]), np.array([success]))
    return returns(ticks, horizon=horizon, n_step=n, gamma=GAMMA)


def test_success_in_chunk_four_pays_without_bootstrap():
    earned = one(149, terminal=True, success=True, n=10)
    assert earned.reward[0] == pytest.approx(0.98521, abs=5e-6)
    assert earned.discount[0] == 0.0


def test_window_without_terminal_bootstraps_with_gamma_to_nh():
    earned = one(1000, terminal=True, success=True, n=10)
    assert earned.reward[0] == 0.0
    assert earned.discount[0] == pytest.approx(0.97044, abs=5e-6)
    assert earned.steps[0] == 300


@pytest.mark.parametrize('valid', [1, 2, 29, 30])
def test_last_chunk_is_padded_and_pays_gamma_to_its_last_step(valid):
    earned = one(valid - 1, terminal=True, success=True)
    assert earned.reward[0] == pytest.approx(GAMMA ** (valid - 1))
    assert earned.discount[0] == 0.0
    assert earned.mask[0].tolist() == [True] * valid + [False] * (30 - valid)


def test_success_one_step_beyond_the_window_bootstraps():
    earned = one(30, terminal=True, success=True)
    assert (earned.reward[0], earned.steps[0]) == (0.0, 30)
    assert earned.mask.all()


def test_failure_is_terminal_and_pays_nothing():
    earned = one(3, terminal=True, success=False)
    assert (earned.reward[0], earned.discount[0]) == (0.0, 0.0)


def test_truncated_end_bootstraps_from_the_last_observation():
    earned = one(7, terminal=False, success=False)
    assert earned.steps[0] == 7
    assert earned.discount[0] == pytest.approx(GAMMA ** 7)
    assert earned.mask[0].sum() == 7  # what the eighth action led to was not seen


def test_gap_splits_the_episode_and_only_the_last_run_ends_it():
    gaps = np.zeros(10, bool)
    gaps[3] = True
    ticks = annotate(gaps, terminal=True, success=True)
    assert ticks.remaining.tolist() == [3, 2, 1, 0, 5, 4, 3, 2, 1, 0]
    assert ticks.terminal.tolist() == [False] * 4 + [True] * 6
    assert startable(ticks).tolist() == [True] * 3 + [False] + [True] * 6


def test_gap_at_the_very_end_changes_nothing():
    gaps = np.array([False, False, True])
    ticks = annotate(gaps, terminal=True, success=True)
    assert ticks.terminal.all() and ticks.remaining.tolist() == [2, 1, 0]


def test_n_step_may_differ_by_transition():
    ticks = Ticks(np.array([99, 99]), np.array([True, True]), np.array([True, True]))
    earned = returns(ticks, horizon=10, n_step=np.array([1, 10]), gamma=GAMMA)
    assert earned.steps.tolist() == [10, 0]
    assert earned.reward[0] == 0.0 and earned.reward[1] == pytest.approx(GAMMA ** 99)


@pytest.mark.parametrize('n', [1, 3, 10])
def test_n_step_return_equals_the_sum_over_chunks(n):
    horizon, length = 7, 40
    ticks = annotate(np.zeros(length, bool), terminal=True, success=True)
    earned = returns(ticks, horizon=horizon, n_step=n, gamma=GAMMA)
    rewards = np.zeros(length + n * horizon)
    rewards[length - 1] = 1.0
    for start in range(length):
        chunks = [
            GAMMA ** (i * horizon) * sum(
                GAMMA ** j * rewards[start + i * horizon + j] for j in range(horizon)
            ) for i in range(n)
        ]
        assert earned.reward[start] == pytest.approx(sum(chunks))

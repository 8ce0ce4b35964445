# SPDX-License-Identifier: Apache-2.0
"""How many chunks a return spans, by phase and by task."""

from learner_fakes import episode
import numpy as np

from lwd_learner.config import ReplayConfig
from lwd_learner.replay import ReplayBuffer
from lwd_learner.schedule import n_steps

CONFIG = ReplayConfig(n_step_offline=10, n_step_short=2, n_step_online=1, long_chunks=5.0)


def buffer_of(*episodes) -> ReplayBuffer:
    buffer = ReplayBuffer(horizon=4)
    for one in episodes:
        buffer.add(one)
    return buffer


def test_long_tasks_look_ten_chunks_ahead_and_others_do_not():
    buffer = buffer_of(episode('a', 12), episode('b', 40, task='shelf'))
    assert n_steps(buffer, np.array([0, 11, 12, 51]), CONFIG, online=False).tolist() == [
        2, 2, 10, 10]


def test_online_returns_are_one_chunk():
    buffer = buffer_of(episode('b', 40, task='shelf'))
    assert n_steps(buffer, np.array([0]), CONFIG, online=True) == 1


def test_failures_do_not_make_a_task_long():
    buffer = buffer_of(episode('a', 12), episode('b', 400, success=False),
                       episode('c', 400, success=False, task='other'))
    assert n_steps(buffer, np.array([0, 500]), CONFIG, online=False).tolist() == [2, 2]

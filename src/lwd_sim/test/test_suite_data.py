# SPDX-License-Identifier: Apache-2.0
"""The suite's offline data: the paper's mix of kinds, repeatable, readable by the learner."""
import json
import sys

import numpy as np
import pytest

from lwd_sim import suite_data
from lwd_sim.episode import SOURCE_HUMAN, SOURCE_POLICY
from lwd_sim.suite_data import FIRST_SEEDS, make_episode, mixture, save, summary
from lwd_sim.suite_instructions import phrases

TASK = 'restock_item'


def made(kind, number=0, task=TASK):
    return make_episode(task, kind, FIRST_SEEDS[kind] + number)


def test_a_demonstration_succeeds_by_a_persons_hand_and_an_aborted_one_does_not():
    demonstration, aborted = made('demonstration').episode, made('aborted').episode
    assert demonstration.success and set(demonstration.source) == {SOURCE_HUMAN}
    assert not aborted.success and set(aborted.source) == {SOURCE_HUMAN}


def test_a_recovery_begins_with_a_policy_and_ends_with_the_persons_correction():
    recovery = made('recovery').episode
    assert recovery.source[0] == SOURCE_POLICY and recovery.takeovers == 1
    changes = np.flatnonzero(np.diff(recovery.source))
    assert len(changes) <= 1
    assert set(made('rollout').episode.source) == {SOURCE_POLICY}


def test_equal_seeds_give_equal_episodes_and_other_seeds_other_ones():
    first, again, other = (made('rollout', number).episode for number in (1, 1, 2))
    assert first.actions.tobytes() == again.actions.tobytes()
    assert first.actions[0].tobytes() != other.actions[0].tobytes()


def test_instructions_are_those_for_training_only():
    own, others, held_out = phrases(TASK)
    heard = {made('demonstration', number).episode.instruction for number in range(8)}
    assert heard <= {own, *others} and len(heard) > 2 and not heard & set(held_out)


def test_the_mixture_has_the_papers_shares_of_robot_time():
    rows = [(one.kind, one.episode.success, one.episode.steps)
            for one in mixture(TASK, demonstrations=12)]
    total = sum(steps for *_, steps in rows)

    def share(kinds, success):
        return sum(s for kind, won, s in rows if kind in kinds and won == success) / total
    assert share(['demonstration'], True) == pytest.approx(.516, abs=.12)
    assert share(['rollout', 'recovery'], True) == pytest.approx(.136, abs=.1)
    assert share(['rollout', 'aborted'], False) == pytest.approx(.060, abs=.08)
    assert share(['play'], False) == pytest.approx(.288, abs=.15)
    assert len({(kind, steps) for kind, _, steps in rows}) > 10


def test_the_learner_reads_what_is_written(tmp_path):
    episodes = pytest.importorskip('lwd_learner.episodes')
    one = made('recovery')
    row = save(one, tmp_path)
    arrays = episodes.EpisodeArrays.load(tmp_path / row['file'])
    np.testing.assert_array_equal(arrays.actions, one.episode.actions)
    np.testing.assert_array_equal(arrays.inputs['state'], one.episode.state)
    assert arrays.success == one.episode.success and arrays.terminal
    assert arrays.task == TASK and arrays.origin == 'offline'
    assert not list(tmp_path.rglob('*.tmp')) and 'recovery' in summary([row])


def test_the_command_writes_the_index_last_and_refuses_what_it_does_not_know(
        tmp_path, monkeypatch, capsys):
    out = tmp_path / 'data'
    monkeypatch.setattr(sys, 'argv', ['suite_data', '--out', str(out), '--tasks', TASK,
                                      '--demonstrations', '2', '--only-demonstrations'])
    suite_data.main()
    rows = json.loads((out / 'index.json').read_text())
    assert [row['kind'] for row in rows] == ['demonstration'] * 2
    assert all((out / row['file']).is_file() for row in rows)
    assert 'demonstration success      2 episodes' in capsys.readouterr().out
    monkeypatch.setattr(sys, 'argv', ['suite_data', '--out', str(out), '--tasks', 'fly'])
    with pytest.raises(SystemExit):
        suite_data.main()
    assert "'fly' is unknown" in capsys.readouterr().err

# SPDX-License-Identifier: Apache-2.0
"""The learning table's bookkeeping: pieces in order, resumed where they were, honest intervals."""

from dataclasses import replace
from pathlib import Path
import sys

import numpy as np
import pytest

from lwd_core.flow.trunk import load_trunk
from lwd_sim.episode import Recorder
from lwd_sim.observe import observe
from lwd_sim.rendering import CameraRenderer
from lwd_sim.world import World

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'benchmarks'))

from _table.cost import plan_table, seconds
from _table.ledger import Ledger
from _table.paired import differences, paired_table
from _table.plan import methods_of, pieces, PROFILES
from _table.report import interval, Row, rows_of
from _table.seen import features_of, TRUNK

SHORT = PROFILES['short']


def test_every_piece_needs_only_pieces_before_it():
    for profile in PROFILES.values():
        seen: set[str] = set()
        for piece in pieces(profile):
            assert seen.issuperset(piece.needs) and piece.name not in seen
            seen.add(piece.name)


def test_the_ablation_of_long_returns_is_left_out_where_no_task_is_long():
    assert 'lwd_n1' not in methods_of(SHORT)
    assert 'lwd_n1' in methods_of(PROFILES['full'])


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path):
    plan = pieces(SHORT)
    ledger = Ledger(tmp_path / 'ledger.sqlite')
    first = ledger.take(plan)
    assert first is not None and first.name == '0/data'
    assert ledger.take(plan) is None  # the rest needs it
    ledger.finish(first, {'robot_steps': 10})
    second = ledger.take(plan)
    assert second is not None and second.name == '0/sft/evaluate0'
    again = Ledger(tmp_path / 'ledger.sqlite')
    assert again.release_dead() == 0  # this process lives: nobody takes its piece away
    ledger._db.execute("UPDATE pieces SET worker = 2147483646 WHERE name = '0/sft/evaluate0'")
    assert again.release_dead() == 1
    assert again.take(plan).name == '0/sft/evaluate0'
    assert '0/data' in again.results()


def test_a_failed_piece_is_tried_again_by_the_next_run(tmp_path: Path):
    plan = pieces(SHORT)
    ledger = Ledger(tmp_path / 'ledger.sqlite')
    ledger.fail(ledger.take(plan), 'no disk')
    assert ledger.take(plan) is None and ledger.errors() == {'0/data': 'no disk'}
    assert ledger.release_dead() == 1 and ledger.take(plan).name == '0/data'


def test_results_of_another_budget_are_not_mixed(tmp_path: Path):
    Ledger(tmp_path / 'ledger.sqlite').settle('budget', {'sft_steps': 1})
    Ledger(tmp_path / 'ledger.sqlite').settle('budget', {'sft_steps': 1})
    with pytest.raises(ValueError, match='another budget'):
        Ledger(tmp_path / 'ledger.sqlite').settle('budget', {'sft_steps': 2})


def test_intervals_widen_with_what_differs_between_seeds():
    mean, low, high = interval([[1.0] * 20, [0.0] * 20, [1.0] * 20])
    assert mean == pytest.approx(2 / 3) and low == 0.0 and high == 1.0
    same = interval([[1.0, 0.0] * 50] * 3)
    assert same[2] - same[1] < 0.2


def test_a_row_counts_the_robot_time_of_all_it_learned_from():
    profile = replace(SHORT, rounds=2, methods=('sft', 'hg_dagger'))
    rows = [['place', 1, 1.0, 50]]
    results = {
        '0/data': {'robot_steps': 90_000, 'demonstration_steps': 18_000},
        '0/sft/evaluate0': {'rows': rows},
        '0/hg_dagger/round1': {'robot_steps': 45_000},
        '0/hg_dagger/round2': {'robot_steps': 45_000}, '0/hg_dagger/evaluate2': {'rows': rows}}
    found = {row.method: row for row in rows_of(profile, results)}
    # SFT never saw the rollouts that the offline data also hold
    assert (found['sft'].hours, found['hg_dagger'].hours) == (0.2, 2.0)
    assert found['sft'].cycle == 2.0


def test_the_mixture_is_made_once_for_all_seeds():
    suite = PROFILES['suite']
    plan = pieces(suite)
    assert [piece.method for piece in plan if piece.kind == 'mixture'] == list(suite.tasks)
    assert all(piece.needs == tuple(f'mixture/{task}' for task in suite.tasks)
               for piece in plan if piece.kind == 'data')
    text = plan_table(plan, suite, {'mixture/serve': {'cpu': 7.3}}, 2)
    assert next(line for line in text.splitlines() if 'serve' in line).split()[-1] == '7'


def test_seeing_costs():
    seen, blind = PROFILES['suite_pixels'], PROFILES['suite_short']
    plan = {piece.name: piece for piece in pieces(seen)}
    for name in ('mixture/door_place', '0/hg_dagger/round1', '0/sft/evaluate0'):
        assert seconds(plan[name], seen) > 1.5 * seconds(plan[name], blind)


def test_what_was_seen_is_what_a_policy_would_have_seen_there():
    trunk = load_trunk(TRUNK)
    world, renderer = World('door_place'), CameraRenderer()
    world.reset(3)
    recorder, live = Recorder(world), []
    for step in range(70):  # more than a batch
        if step % 23 == 0:
            now = observe(world, 'x', renderer)
            live.append(trunk.features(now.images, now.joints))
        recorder.step(world.joints() + 0.01, 1)
    renderer.close()
    episode = recorder.finish(False)
    found = features_of(episode, trunk)
    assert found.shape == (70, trunk.size)
    np.testing.assert_allclose(found[::23], np.array(live), atol=1e-5)
    moved = episode.actions.copy()
    moved[5] += 0.1
    with pytest.raises(ValueError, match='door_place from seed 3: another simulation.* step 6'):
        features_of(replace(episode, actions=moved), trunk)


def test_rows_are_compared_on_the_starts_that_both_were_judged_on():
    def row(numbers, *seeds):
        return Row('m', 'M', True, numbers, [[[*one, 9] for one in seed] for seed in seeds], 1.0)

    ours = row([0, 2], [['a', 1, 1.0], ['a', 2, 1.0], ['b', 1, 0.5]], [['a', 1, 1.0]])
    peer = row([1, 2], [['a', 1, 0.5]], [['a', 1, 0.75], ['a', 2, 0.0]])
    assert differences(ours, peer, ['a', 'b']) == [[0.25]]  # of seed 2
    other = row([0, 2], [['b', 1, 0.0], ['a', 2, 0.0], ['a', 1, 1.0]], [['a', 1, 0.0]])
    assert differences(ours, other, ['a']) == [[0.0, 1.0], [1.0]]
    last = paired_table([ours, other], ours, ['a', 'b'], ['b']).splitlines()[-1]
    assert last == '| M | **+50.0 [+50.0, +50.0]** | **+75.0 [+33.3, +100.0]** | 2 |'


def test_the_plan_adds_up_and_shows_what_was_measured():
    plan = pieces(SHORT)
    text = plan_table(plan, SHORT, {'0/data': {'cpu': 12.4}}, 2)
    assert text.splitlines()[1].split() == ['data', f'{seconds(plan[0], SHORT):.0f}', '12']
    assert f'{len(plan)} pieces' in text.splitlines()[-1]


def test_the_night_s_budget_fits_a_night_on_two_cores():
    full = PROFILES['full']
    assert sum(seconds(piece, full) for piece in pieces(full)) / 3600 / 2 < 8

# SPDX-License-Identifier: Apache-2.0
"""`lwd episodes` finds what is asked for, shows its audit and keeps every label."""

from dataclasses import replace
import json

from exchange_fixtures import record
import pytest

from lwd_bringup.catalogue import DAMAGED, episode_rows, Filter, find_episode, relabel
from lwd_bringup.cli import main as cli
from lwd_core.episode import EpisodeMeta


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    top = tmp_path_factory.mktemp('store')
    record(top, 'a1', ticks=10, jpeg=None)
    record(top, 'b2', ticks=10, jpeg=None, outcome='failure', checkpoint='d' * 64,
           date='2026-01-02')
    folder = record(top, 'c3', ticks=11, jpeg=None, task='crate', date='2026-01-03')
    meta = EpisodeMeta.read(folder)
    half = (meta.started_ns + meta.ended_ns) // 2
    replace(meta, interventions=[{'id': 1, 'start_ns': half, 'end_ns': meta.ended_ns}]).write(
        folder)
    damaged = record(top, 'd4', ticks=10, jpeg=None, date='2026-01-04')
    (damaged / 'episode.json').write_text('{')
    return top


@pytest.fixture
def say(capsys, monkeypatch):
    def say(*words):
        monkeypatch.setattr('sys.argv', ['lwd', *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err
    return say


def names(store, **wanted):
    return [row['episode'] for row in episode_rows(str(store), Filter(**wanted))]


@pytest.mark.parametrize(('wanted', 'found'), [
    ({}, ['a1', 'b2', 'c3', 'd4']),
    ({'outcome': 'success'}, ['a1', 'c3']),
    ({'outcome': DAMAGED}, ['d4']),
    ({'task': 'crate'}, ['c3']),
    ({'robot': 'nobody'}, []),
    ({'checkpoint': 'dd'}, ['b2']),
    ({'takeovers': True}, ['c3']),
    ({'min_takeover': 0.4, 'outcome': 'success'}, ['c3']),
    ({'max_takeover': 0.1, 'outcome': 'success'}, ['a1']),
    ({'since': '2026-01-02', 'until': '2026-01-03'}, ['b2', 'c3']),
    ({'ids': ('a', 'b2')}, ['a1', 'b2']),
])
def test_filters_leave_what_is_meant(store, wanted, found):
    assert names(store, **wanted) == found


@pytest.mark.parametrize(('words', 'text'), [
    (('--outcome', 'maybe'), "--outcome: 'maybe' is not one of unlabelled"),
    (('--since', '3 days ago'), "--since: '3 days ago' is no date, give YYYY-MM-DD"),
    (('--until', '2026-1-1'), 'give YYYY-MM-DD'),
    (('--min-takeover', '0.5', '--max-takeover', '0.2'), 'must be within 0 and 1'),
])
def test_filters_that_mean_nothing_are_refused(store, say, words, text):
    code, out, err = say('episodes', 'list', '--store', store, *words)
    assert (code, out) == (1, '') and text in err and err.count('\n') == 1


def test_list_says_who_drove_and_how_much(store, say):
    code, out, _ = say('episodes', 'list', '--store', store, '--task', 'crate')
    assert code == 0 and ' 50%' in out and '1 episodes, 1 successful' in out


def test_show_prints_the_record_and_the_audit(store, say):
    code, out, _ = say('episodes', 'show', 'a1', '--store', store)
    assert code == 0 and '"id": "a1"' in out and '# audit: use' in out
    assert '#   joint_states: count 10, rate 25' in out
    code, out, _ = say('episodes', 'show', 'a1', '--store', store, '--json')
    found = json.loads(out)
    assert found['audit']['verdict'] == 'use' and found['episode']['task'] == 'place'


def test_audit_gives_a_verdict_an_episode(store, say):
    code, out, _ = say('episodes', 'audit', '--store', store)
    assert code == 0 and 'a1  use\n' in out
    assert 'd4  quarantine\n    ' in out and 'is not JSON' in out
    assert out.splitlines()[-1] == '3 use, 1 quarantine'


def test_label_changes_the_outcome_and_keeps_what_was_said(tmp_path, say):
    record(tmp_path, 'e', ticks=10, jpeg=None)
    code, out, _ = say('episodes', 'label', 'e', 'failure', '--store', tmp_path, '--who', 'anna')
    assert (code, out) == (0, 'e: failure (was success by synthetic)\n')
    relabel(str(tmp_path), 'e', 'success', 'ben')
    _, meta = find_episode(str(tmp_path), 'e')
    assert meta.outcome == 'success' and meta.labelled_by == 'ben'
    assert [(one['was'], one['was_by']) for one in meta.labels] == [
        ('success', 'synthetic'), ('failure', 'anna')]
    code, _, err = say('episodes', 'label', 'e', 'maybe', '--store', tmp_path)
    assert code == 1 and "outcome 'maybe' refused" in err
    assert find_episode(str(tmp_path), 'e')[1].outcome == 'success'


CRATE = 'tea=1, coffee=0.5, beans=1, jam=0, lift=1'


def test_label_takes_scores_of_the_sub_steps_and_keeps_those_before(tmp_path, say):
    record(tmp_path, 'e', ticks=10, jpeg=None, task='pack_crate')
    where = ('--store', tmp_path, '--who', 'anna')
    code, out, _ = say('episodes', 'label', 'e', 'failure', '--scores', CRATE, *where)
    assert (code, out.splitlines()[1].strip()) == (
        0, 'tea 1, coffee 0.5, beans 1, jam 0, lift the crate 1 (was not scored)')
    code, out, _ = say('episodes', 'label', 'e', '--scores', 'Lift the crate=.5', *where)
    assert code == 0 and out.startswith('e: failure (was failure by anna)')
    _, meta = find_episode(str(tmp_path), 'e')
    assert meta.substep_scores == [1.0, 0.5, 1.0, 0.0, 0.5] and meta.outcome == 'failure'
    assert [(one['scores'][-1], one['were'][-1:]) for one in meta.labels] == [(1.0, []), (0.5, [1])]


def test_show_tells_every_label_with_its_scores(tmp_path, say):
    record(tmp_path, 'e', ticks=10, jpeg=None, task='pack_crate')
    relabel(str(tmp_path), 'e', 'failure', 'anna', CRATE)
    relabel(str(tmp_path), 'e', 'success', 'ben')
    relabel(str(tmp_path), 'e', '', 'cleo', 'jam=1')
    _, out, _ = say('episodes', 'show', 'e', '--store', tmp_path)
    said = [line for line in out.splitlines() if line.startswith(('# label', '# until'))]
    assert [line.split('coffee')[0].split(': ', 1)[1] for line in said] == [
        'success by cleo: tea 1, ', 'success by ben: tea 1, ', 'failure by anna: tea 1, ',
        'success by synthetic']
    assert 'jam 1' in said[0] and 'jam 0' in said[1]


@pytest.mark.parametrize(('task', 'scores', 'text'), [
    ('pack_crate', 'tea=0.7', "'tea=0.7': write tea=SCORE with a score of 0, 0.5 or 1"),
    ('pack_crate', 'tea', 'write tea=SCORE'),
    ('pack_crate', 'milk=1', "'milk' is no sub-step of task 'pack_crate', which has tea, coffee"),
    ('pack_crate', 'tea=1,tea=0', "'tea' is given twice"),
    ('pack_crate', 'tea=1', 'no score yet for coffee, beans, jam, lift the crate'),
    ('serve', 'c=1', "'c' may be cup or cover: which"),
    ('place', 'reach=1', "task 'place' has no sub-steps"),
    ('unheard', 'reach=1', "task 'unheard' is in none of"),
])
def test_scores_that_mean_nothing_are_refused_and_change_nothing(tmp_path, say, task, scores, text):
    record(tmp_path, 'e', ticks=10, jpeg=None, task=task)
    code, out, err = say('episodes', 'label', 'e', 'failure', '--scores', scores,
                         '--store', tmp_path)
    assert (code, out) == (1, '') and text in err and err.count('\n') == 1
    _, meta = find_episode(str(tmp_path), 'e')
    assert (meta.outcome, meta.labels, meta.substep_scores) == ('success', [], [])


def test_label_without_anything_to_say_is_refused(tmp_path, say):
    record(tmp_path, 'e', ticks=10, jpeg=None)
    code, _, err = say('episodes', 'label', 'e', '--store', tmp_path)
    assert code == 1 and 'say an outcome' in err


@pytest.mark.parametrize(('words', 'text'), [
    (('out',), 'choose a format'), (('out', '--lerobot', '--rerun'), 'choose a format'),
    (('out', 'zzz', '--lerobot'), 'no episode matches'),
    (('out', 'a', 'b', '--rerun'), 'writes one episode, 2 match'),
])
def test_export_says_what_is_missing(store, say, tmp_path, words, text):
    code, _, err = say('episodes', 'export', *words, '--store', store)
    assert code == 1 and text in err


def test_export_and_import_through_the_command(store, say, tmp_path):
    from exchange_fixtures import ROBOT_FILE
    source = tmp_path / 'source'
    record(source, 'x', ticks=10)
    code, out, _ = say('episodes', 'export', tmp_path / 'set', 'x', '--lerobot', '--store', source)
    assert code == 0 and 'LeRobot v3.0, 1 episodes, 10 frames' in out
    code, out, err = say('episodes', 'import', tmp_path / 'set', '--task', 'place', '--robot-file',
                         ROBOT_FILE, '--store', tmp_path / 'new')
    assert code == 0 and '1 episodes imported, 0 were there already' in out, err

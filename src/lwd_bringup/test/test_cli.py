# SPDX-License-Identifier: Apache-2.0
"""What a person types: help that explains, and one line where something is wrong."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner
import yaml

from lwd_bringup.cli import episodes
from lwd_bringup.cli import main as cli
from lwd_bringup.graph import GRAPHS
from lwd_bringup.paths import config_dir

SIM = config_dir() / 'robots' / 'sim.yaml'


@pytest.fixture
def say(monkeypatch, capsys):
    """Return `say(*words) -> (exit code, output, errors)` of one `lwd` command."""
    def run(*words):
        monkeypatch.setattr('sys.argv', ['lwd', *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()
    return run


@pytest.mark.parametrize('words', [
    (), ('demo',), ('doctor',), ('up',), *(('up', name) for name in GRAPHS),
    ('episodes',), ('episodes', 'label'), ('checkpoints',), ('checkpoints', 'set')])
def test_every_command_says_what_it_does_and_each_of_its_options(words):
    result = CliRunner().invoke(cli.app, [*words, '--help'], env={'COLUMNS': '200'})
    assert result.exit_code == 0
    options = [line for line in result.output.splitlines() if line.startswith('│ --')]
    assert options and all(len(line.split()) > 4 for line in options)
    shown = result.output.replace('://', '')
    assert '//' not in shown, 'a placeholder in angle brackets is taken for markup'


def robot_file(tmp_path, **changes):
    data = yaml.safe_load(SIM.read_text())
    data['joints'][0].update(changes)
    path = tmp_path / 'robot.yaml'
    path.write_text(yaml.safe_dump(data))
    return str(path)


def test_up_with_limits_the_wrong_way_round_is_one_line_and_starts_nothing(say, tmp_path):
    wrong = robot_file(tmp_path, lower=9.0)
    code, out, err = say('up', 'robot', '--robot-file', wrong, '--run-dir', str(tmp_path / 'run'))
    assert (code, out) == (1, '') and not (tmp_path / 'run').exists()
    assert err.count('\n') == 1 and wrong in err
    assert 'lower: is 9' in err and 'must be below upper' in err


@pytest.mark.parametrize(('words', 'needle'), [
    (('robot', '--robot-file', '/nowhere.yaml'), '/nowhere.yaml: cannot be read'),
    (('sim', '--tasks-file', '/nowhere.yaml'), '/nowhere.yaml: cannot be read'),
    (('learner', '--learner-config', '/nowhere.yaml'), '/nowhere.yaml: cannot be read'),
    (('sim', '--operator', 'supervise', '--tasks', 'place,juggle'), "'juggle'"),
    (('replay', '--bag', '/nowhere'), '/nowhere does not exist'),
    (('replay',), 'name an episode folder'),
    (('robot', '--observation', 'smell'), "'smell' is not one of state, pixels"),
])
def test_up_names_what_is_wrong_before_anything_starts(say, tmp_path, words, needle):
    code, out, err = say('up', *words, '--run-dir', str(tmp_path / 'run'))
    assert (code, out) == (1, '') and not (tmp_path / 'run').exists()
    assert err.startswith('lwd: ') and err.count('\n') == 1 and needle in err


def test_up_dry_run_prints_the_processes_and_starts_nothing(say, tmp_path):
    code, out, err = say('up', 'sim', '--dry-run', '--run-dir', str(tmp_path / 'run'))
    assert (code, err) == (0, '') and not (tmp_path / 'run').exists()
    assert 'process robot1/arbiter' in out and f'robot_file: {SIM}' in out


@pytest.mark.parametrize('words', [('episodes', 'list'), ('checkpoints', 'verify', 'abc')])
def test_a_store_that_is_not_there_is_named(say, tmp_path, words):
    code, _, err = say(*words, '--store', str(tmp_path / 'none'))
    assert code == 1 and str(tmp_path / 'none') in err and err.count('\n') == 1


def test_an_episode_id_in_a_list_is_never_cut_off(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '40')
    episodes._table(('episode', 'robot'), [{'episode': 'e' * 60, 'robot': 'robot1'}])
    assert 'e' * 60 + '  robot1' in capsys.readouterr().out


@pytest.mark.parametrize(('arguments', 'needle'), [
    (('-p', 'bag:=/nowhere'), '/nowhere does not exist'),
    (('-p', 'rate:=0.0'), 'rate: 0.0 refused')])
def test_a_replay_that_cannot_begin_is_one_line_and_exit_2(arguments, needle):
    done = subprocess.run(
        [sys.executable, '-m', 'lwd_bringup.replay_node', '--ros-args', *arguments],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and needle in done.stderr
    assert done.stderr.count('\n') == 1

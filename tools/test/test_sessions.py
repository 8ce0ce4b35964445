# SPDX-License-Identifier: Apache-2.0
"""The sessions of `make test` add up, and no failure is lost between them."""
import os
import signal
import textwrap
import time

import pytest
from sessions import closing_line, counts, run_sessions, sessions

ENVIRON = {**os.environ, 'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1'}  # starts in a third of the time


def write_test(root, folder, body):
    path = root / folder
    path.mkdir(parents=True)
    (path / 'test_same_name.py').write_text(textwrap.dedent(body))


@pytest.mark.parametrize('line, expected', [
    ('== 3 passed in 0.12s ==', {'passed': 3}),
    ('= 1 failed, 2 passed, 4 skipped, 2 errors in 61.20s (0:01:01) =',
     {'failed': 1, 'passed': 2, 'skipped': 4, 'error': 2}),
    ('no closing line', {}),
    ('5 deselected in 0.10s', {'deselected': 5}),
])
def test_a_closing_line_is_read(line, expected):
    assert dict(counts(f'noise 7 passed\n{line}\n')) == expected


def test_a_closing_line_reads_like_pytests():
    line = closing_line({'passed': 12, 'failed': 1}, 3.5, ['src/x/test: exit 1'])
    assert '1 failed, 12 passed in 3.50s (src/x/test: exit 1)' in line


def test_equal_file_names_in_two_packages_do_not_clash(tmp_path, capfd):
    write_test(tmp_path, 'src/a/test', 'def test_one(): pass')
    write_test(tmp_path, 'src/b/test', 'def test_two(): pass')
    write_test(tmp_path, 'tests', 'def test_three(): pass')
    assert run_sessions(tmp_path, ['-q'], ENVIRON)
    assert '3 passed in' in capfd.readouterr().out.splitlines()[-1]


def test_one_failing_package_fails_all_and_the_others_still_run(tmp_path, capfd):
    write_test(tmp_path, 'src/a/test', 'def test_one(): assert False')
    write_test(tmp_path, 'src/b/test', 'def test_two(): pass')
    assert not run_sessions(tmp_path, ['-q'], ENVIRON)
    last = capfd.readouterr().out.splitlines()[-1]
    assert '1 failed, 1 passed' in last and 'src/a/test: exit 1' in last


def test_a_session_that_dies_is_a_failure(tmp_path, capfd):
    write_test(tmp_path, 'src/a/test', 'import os\ndef test_one(): os._exit(0 + 3)')
    write_test(tmp_path, 'src/b/test', 'def test_two(): pass')
    assert not run_sessions(tmp_path, ['-q'], ENVIRON)
    assert 'src/a/test: exit 3' in capfd.readouterr().out.splitlines()[-1]


def test_what_a_test_leaves_running_does_not_keep_the_run_waiting(tmp_path, capfd):
    write_test(tmp_path, 'tests', '''
        import pathlib
        import subprocess

        def test_one(capfd):
            with capfd.disabled():  # else pytest's capture, not the pipe, is what it holds
                child = subprocess.Popen(['sleep', '1000'])
            pathlib.Path('pid').write_text(str(child.pid))
        ''')
    start = time.monotonic()
    try:
        assert run_sessions(tmp_path, ['-q'], ENVIRON)
        assert time.monotonic() - start < 150.0
        assert '1 passed in' in capfd.readouterr().out.splitlines()[-1]
    finally:
        os.kill(int((tmp_path / 'pid').read_text()), signal.SIGKILL)


def test_no_test_at_all_is_a_failure(tmp_path):
    write_test(tmp_path, 'tests', 'def test_one(): pass')
    assert not run_sessions(tmp_path, ['-q', '-k', 'nothing_is_called_so'], ENVIRON)


def test_paths_of_the_user_run_in_one_session(tmp_path):
    write_test(tmp_path, 'src/a/test', '')
    write_test(tmp_path, 'tests', '')
    assert sessions(tmp_path, ['src/a/test::x', '-x']) == [['src/a/test::x', '-x']]
    assert sessions(tmp_path, ['-x']) == [['src/a/test', '-x'], ['tests', '-x']]

# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

from lwd_bringup.graph import Respawn
from lwd_bringup.runner import ProcessSpec, Runner, State
from lwd_bringup.runner.backoff import Backoff

LADDER = ((signal.SIGINT, 1.0), (signal.SIGTERM, 0.3), (signal.SIGKILL, 1.0))
ONCE = Respawn(on_failure=False)


def python(name, code, respawn=ONCE):
    return ProcessSpec(name, (sys.executable, '-S', '-c', code), respawn=respawn)


def poll_until(runner, done, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, 'timed out'
        runner.poll()
        time.sleep(0.01)


def is_alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def wait_gone(pids, timeout=60.0):
    deadline = time.monotonic() + timeout
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, 'orphans left'
        time.sleep(0.01)


def test_backoff_doubles_up_to_its_bound_then_gives_up():
    backoff = Backoff(Respawn(delay=1.0, max_delay=3.0, max_restarts=4, window=60.0))
    assert [backoff.next_delay(0.1) for _ in range(5)] == [1.0, 2.0, 3.0, 3.0, None]


def test_backoff_forgets_old_failures_after_a_good_stretch():
    backoff = Backoff(Respawn(delay=1.0, max_restarts=1, window=60.0))
    assert backoff.next_delay(0.1) == 1.0
    assert backoff.next_delay(61.0) == 1.0
    assert backoff.next_delay(0.1) is None


def test_a_crashed_process_is_restarted_and_its_output_kept(tmp_path):
    mark = tmp_path / 'mark'
    code = (f'import pathlib,sys,time; p=pathlib.Path({str(mark)!r})\n'
            'if not p.exists(): p.touch(); print("first life"); sys.exit(3)\n'
            'print("second life", flush=True); time.sleep(60)')
    lines = []
    with Runner([python('a', code, Respawn(delay=0.01))], tmp_path,
                lambda name, line: lines.append((name, line)), ladder=LADDER) as runner:
        poll_until(runner, lambda: ('a', 'second life') in lines)
        health = runner.health()[0]
        assert health.state is State.RUNNING and health.restarts == 1 and health.exit_code == 3
    assert (tmp_path / 'a.log').read_text().startswith('first life\nsecond life\n')
    assert ('a', 'died with exit code 3, restarts in 0.0 s') in lines


def test_a_process_that_keeps_dying_is_given_up_and_named(tmp_path):
    respawn = Respawn(delay=0.01, max_delay=0.01, max_restarts=2)
    with Runner([python('a', 'print("no robot file"); raise SystemExit(1)', respawn),
                 python('b', 'import time; time.sleep(60)')], tmp_path, ladder=LADDER) as runner:
        poll_until(runner, lambda: bool(runner.failed()))
        failed = runner.failed()[0]
        assert failed.spec.name == 'a' and failed.restarts == 2
        assert 'no robot file' in failed.tail
        assert not runner.poll()
        assert runner.process('b').state is State.RUNNING


def test_a_process_that_ends_well_is_not_restarted(tmp_path):
    with Runner([python('a', 'pass', Respawn())], tmp_path, ladder=LADDER) as runner:
        poll_until(runner, lambda: runner.process('a').state is State.EXITED)
        assert runner.poll() and not runner.running()


@pytest.mark.parametrize('code', [
    'import time; time.sleep(60)',
    'import signal,time; signal.signal(signal.SIGINT, signal.SIG_IGN); print("up", flush=True)\n'
    'time.sleep(60)',
    'import signal,time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]\n'
    'print("up", flush=True); time.sleep(60)',
], ids=['obeys', 'ignores SIGINT', 'ignores SIGTERM'])
def test_stop_ends_every_process_however_deaf(tmp_path, code):
    runner = Runner([python('a', code)], tmp_path, ladder=LADDER)
    runner.start()
    if 'up' in code:
        poll_until(runner, lambda: 'up' in runner.process('a').tail)
    pid = runner.process('a').pid
    runner.stop()
    assert not is_alive(pid) and runner.process('a').state is State.STOPPED


SPAWNER = ('import subprocess,sys,time\n'
           'child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])\n'
           'print(child.pid, flush=True); time.sleep(60)')


def test_stop_leaves_no_worker_of_a_process_behind(tmp_path):
    with Runner([python('a', SPAWNER)], tmp_path, ladder=LADDER) as runner:
        poll_until(runner, lambda: bool(runner.process('a').tail))
        worker = int(runner.process('a').tail[0])
        assert is_alive(worker)
    wait_gone([worker])


def test_killing_the_runner_kills_its_processes_and_their_workers(tmp_path):
    code = f'''
import sys, time
from pathlib import Path
from lwd_bringup.runner import ProcessSpec, Runner
spec = ProcessSpec('a', (sys.executable, '-S', '-c', {SPAWNER!r}))
with Runner([spec], Path({str(tmp_path)!r})) as runner:
    while not runner.process('a').tail:
        time.sleep(0.01)
    print(runner.process('a').pid, runner.process('a').tail[0], flush=True)
    time.sleep(60)
'''
    child = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in child.stdout.readline().split()]
    assert len(pids) == 2 and all(is_alive(pid) for pid in pids)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    wait_gone(pids)


def test_a_process_steps_back_as_far_as_it_was_told(tmp_path):
    code = ('import os, pathlib; group = pathlib.Path("/proc/self/autogroup")\n'
            'print(os.nice(0), group.read_text().split()[-1] if group.exists() else "7")')
    spec = ProcessSpec('modest', (sys.executable, '-S', '-c', code), respawn=ONCE, niceness=7)
    with Runner([spec], tmp_path, ladder=LADDER) as runner:
        poll_until(runner, lambda: runner.process('modest').state is State.EXITED)
    assert '7 7' in (tmp_path / 'modest.log').read_text()

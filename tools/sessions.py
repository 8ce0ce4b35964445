# SPDX-License-Identifier: Apache-2.0
"""
Run pytest once per package and once for the system tests, and add the results up.

One process each: ROS contexts, torch's threads and fake modules of one package never meet those of
another. The closing line adds up all sessions, in pytest's own form.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
import os
from pathlib import Path
import re
import select
import subprocess
import sys
import threading
import time

# A ROS 2 installation brings plugins for older versions of pytest.
PLUGINS = ('-p', 'no:launch_testing', '-p', 'no:launch_testing_ros_pytest_entrypoint')
NO_TESTS = 5  # pytest's exit code where nothing was collected
SESSION_LIMIT = 900.0  # s; pytest-timeout ends single tests long before
OUTCOMES = ('failed', 'passed', 'skipped', 'deselected', 'xfailed', 'xpassed', 'error')


def sessions(root: Path, arguments: Sequence[str]) -> list[list[str]]:
    """Return the arguments of each session: the user's paths in one, else one per package."""
    if any((root / argument.split('::')[0]).exists() for argument in arguments):
        return [list(arguments)]
    folders = [*sorted(root.glob('src/*/test')), root / 'tools' / 'test', root / 'tests']
    return [[str(folder.relative_to(root)), *arguments] for folder in folders
            if any(folder.rglob('test_*.py'))]


def counts(output: str) -> Counter[str]:
    """Return pytest's closing line as numbers by outcome; empty where there is none."""
    found: Counter[str] = Counter()
    for line in reversed(output.splitlines()):
        if re.search(r' in \d+(\.\d+)?s\b', line):
            for number, outcome in re.findall(r'(\d+) (\w+?)s?\b', line):
                if outcome in OUTCOMES:
                    found[outcome] += int(number)
            break
    return found


def closing_line(total: Mapping[str, int], seconds: float, broken: Sequence[str]) -> str:
    """Return one line over all sessions, in the form that pytest's own has."""
    parts = [f'{total[outcome]} {outcome}{"s" if outcome == "error" and total[outcome] > 1 else ""}'
             for outcome in OUTCOMES if total.get(outcome)]
    text = f'{", ".join(parts) or "no tests ran"} in {seconds:.2f}s'
    if broken:
        text += f' ({", ".join(broken)})'
    return f' {text} '.center(79, '=')


def output_of(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Yield what a process writes until it ends; what it leaves behind may keep the pipe open."""
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    while True:
        ended = process.poll() is not None
        if select.select([pipe], [], [], 0.0 if ended else 0.2)[0]:
            data = os.read(pipe, 65536)
            if not data:
                return
            yield data
        elif ended:
            return


def run_session(root: Path, arguments: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
    """Run one session with its output passed on; return its exit code and output."""
    color = ['--color=yes'] if sys.stdout.isatty() else []
    command = [sys.executable, '-m', 'pytest', *PLUGINS, *color, *arguments]
    received = bytearray()
    with subprocess.Popen(command, cwd=root, env=dict(env), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        watchdog = threading.Timer(SESSION_LIMIT, process.kill)
        watchdog.start()
        for data in output_of(process):
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
            received += data
        watchdog.cancel()
    output = received.decode(errors='replace')
    return process.returncode, re.sub(r'\x1b\[[0-9;]*m', '', output)


def run_sessions(root: Path, arguments: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Run all sessions; return whether every one passed and any test ran."""
    start = time.monotonic()
    total: Counter[str] = Counter()
    broken = []
    for number, session in enumerate(sessions(root, arguments)):
        # A domain of its own: what a session leaves behind cannot talk to the next.
        domain = environ.get('ROS_DOMAIN_ID') or str(20 + (os.getpid() + number) % 80)
        # One thread each: torch's pools of several processes only fight over two cores.
        env = {'OMP_NUM_THREADS': '1', **environ, 'ROS_DOMAIN_ID': domain}
        code, output = run_session(root, session, env)
        total += counts(output)
        if code not in (0, NO_TESTS):
            broken.append(f'{session[0]}: exit {code}')
    print(closing_line(total, time.monotonic() - start, broken), flush=True)
    return not broken and total['passed'] > 0

# SPDX-License-Identifier: Apache-2.0
"""Run the checks of `make test` and `make lint`: all of them, then say which failed."""
from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import subprocess
import sys
import time

from sessions import run_sessions

ROOT = Path(__file__).resolve().parents[1]
TYPED = ('tools/bootstrap', 'tools/check.py', 'tools/sessions.py', 'tools/package_lint.py',
         'src/lwd_core/lwd_core', 'src/lwd_learner/lwd_learner')


def lint() -> list[list[str]]:
    """Style of all Python, and package.xml against what is imported."""
    return [['ruff', 'check', '--quiet', '.'], [sys.executable, 'tools/package_lint.py']]


def types() -> list[list[str]]:
    """Strict types of the parts that have them."""
    return [['mypy', *(path for path in TYPED if (ROOT / path).exists())]]


def tests(arguments: list[str]) -> bool:
    """Unit tests of each package, then the system tests."""
    return run_sessions(ROOT, arguments, os.environ)


def commands_pass(commands: list[list[str]]) -> bool:
    """Run all commands, also after a failure; return whether all passed."""
    env = {**os.environ, 'MYPYPATH': 'src/lwd_core:src/lwd_learner:tools'}
    codes = [subprocess.run(command, cwd=ROOT, env=env).returncode for command in commands]
    return not any(codes)


def timed(name: str, check: Callable[[], bool]) -> bool:
    """Run one check between a line that opens and one that closes it."""
    print(f'== {name}', flush=True)
    start = time.monotonic()
    passed = check()
    print(f'== {name}: {"passed" if passed else "FAILED"} ({time.monotonic() - start:.0f} s)',
          flush=True)
    return passed


def main(arguments: list[str]) -> int:
    """Run the checks named before '--'; what follows is given to pytest."""
    split = arguments.index('--') if '--' in arguments else len(arguments)
    names, rest = arguments[:split], arguments[split + 1:]
    start = time.monotonic()
    checks: dict[str, Callable[[], bool]] = {
        'lint': lambda: commands_pass(lint()), 'types': lambda: commands_pass(types()),
        'tests': lambda: tests(rest)}
    failed = [name for name in names if not timed(name, checks[name])]
    seconds = int(time.monotonic() - start)
    verdict = f'FAILED: {", ".join(failed)}' if failed else f'passed: {", ".join(names)}'
    print(f'{verdict} ({seconds // 60} min {seconds % 60} s)', flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

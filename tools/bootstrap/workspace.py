# SPDX-License-Identifier: Apache-2.0
"""The colcon workspace: which packages there are, and what each was built from."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
import os
from pathlib import Path
import shutil

from bootstrap.layout import Layout, WHEELS
from bootstrap.stamp import digest, Stamps

IGNORED = ('__pycache__', 'test', '.pytest_cache')


def packages(src: Path) -> dict[str, Path]:
    """Return the workspace's packages by name; a folder counts once it has a package.xml."""
    return {path.parent.name: path.parent for path in sorted(src.glob('*/package.xml'))}


def package_files(package: Path) -> list[Path]:
    """Return the package's files, without tests and caches."""
    found = []
    for folder, folders, names in os.walk(package):
        folders[:] = sorted(name for name in folders if name not in IGNORED)
        found += [Path(folder, name) for name in sorted(names)]
    return found


def package_digest(package: Path, shared: Iterable[str | Path] = ()) -> str:
    """
    Return what the built package depends on.

    CMake packages: all contents. Python packages are symlinked, so only their build files count,
    and the names of data files, which colcon links one by one; modules are live by themselves.
    """
    parts: list[str | Path] = list(shared)
    if (package / 'CMakeLists.txt').is_file():
        for path in package_files(package):
            parts += [str(path.relative_to(package)), path]
        return digest(parts)
    parts += [package / name for name in ('package.xml', 'setup.py', 'setup.cfg')]
    module = package / package.name
    parts += [str(path.relative_to(package)) for path in package_files(package)
              if module not in path.parents]
    return digest(parts)


def names_under(root: Path, folders: Iterable[str]) -> list[str]:
    """Return the names of files that packages install from outside their folder."""
    return [str(path.relative_to(root)) for folder in folders
            for path in sorted((root / folder).rglob('*'))
            if path.is_file() and '__pycache__' not in path.parts]


def stale_packages(layout: Layout, stamps: Stamps, shared: Iterable[str | Path]) -> dict[str, str]:
    """Return the packages that must be built, with the digest to record afterwards."""
    stale = {}
    for name, path in packages(layout.src).items():
        extra = names_under(layout.root, ('launch', 'config')) if name == 'lwd_bringup' else []
        value = package_digest(path, [*shared, *extra])
        if not (stamps.current(name, value) and (layout.install / name).is_dir()):
            stale[name] = value
    return stale


def remove_departed(layout: Layout, stamps: Stamps) -> list[str]:
    """Remove what was built from packages that no longer exist."""
    departed = sorted(stamps.steps() - set(packages(layout.src)) - {'root'})
    for name in departed:
        shutil.rmtree(layout.install / name, ignore_errors=True)
        shutil.rmtree(layout.root / 'build' / name, ignore_errors=True)
        stamps.forget(name)
    return departed


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what another checkout or environment has put there."""
    env = dict(environ)
    if env.pop('_ROS_WHEELS_BOOTSTRAP_COMPLETE', None):
        env.pop('LD_LIBRARY_PATH', None)  # set by that environment's ROS 2 wheels
    for name in ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV', 'COLCON_PREFIX_PATH',
                 'CMAKE_PREFIX_PATH', 'AMENT_PREFIX_PATH'):
        env.pop(name, None)
    env['PYTHONNOUSERSITE'] = '1'
    return env


def build_environment(layout: Layout, ros: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which colcon builds."""
    if ros != WHEELS:
        env = dict(environ)
    else:
        env = clean_environment(environ)
        env['AMENT_PREFIX_PATH'] = env['CMAKE_PREFIX_PATH'] = str(layout.venv)
    env['PATH'] = f'{layout.venv / "bin"}{os.pathsep}{env.get("PATH", os.defpath)}'
    return env


def build_command(layout: Layout, names: Iterable[str]) -> list[str]:
    """Return the colcon command; colcon.meta brings what all machines build alike."""
    command = [
        str(layout.python), '-m', 'colcon', '--log-base', str(layout.root / 'log'), 'build',
        '--base-paths', str(layout.src), '--symlink-install',
        '--event-handlers', 'console_direct+', 'console_cohesion-', 'console_stderr-',
        '--packages-select', *names,
        '--cmake-args', f'-DPython3_EXECUTABLE={layout.python}',
        '-DPython3_FIND_VIRTUALENV=ONLY', '-DBUILD_TESTING=OFF',
    ]
    if (layout.venv / 'bin' / 'ninja').exists() or shutil.which('ninja'):
        command.append('-GNinja')
    return command

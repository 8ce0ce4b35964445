# SPDX-License-Identifier: Apache-2.0
"""What a machine must have before anything is installed: one line and one command each."""
from __future__ import annotations

from collections.abc import Callable
import ctypes
from dataclasses import dataclass
import importlib.util
import os
from pathlib import Path
import platform
import shutil
import sys
import sysconfig

DISK_GB = 8.0  # the environment with torch's CUDA build, and the build space
PYTHONS = ((3, 10), (3, 13))
GL_PACKAGES = 'libegl1 libgl1 libegl-mesa0 libgl1-mesa-dri'


@dataclass(frozen=True)
class Problem:
    """Something that is missing, and the command that mends it."""

    name: str
    what: str
    command: str

    def __str__(self) -> str:
        """Return the one line that the user reads."""
        return f'{self.what}: {self.command}'


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _has_egl_vendor() -> bool:
    folders = ('/usr/share/glvnd/egl_vendor.d', '/etc/glvnd/egl_vendor.d')
    return any(list(Path(folder).glob('*.json')) for folder in folders)


def _free_gb(path: Path) -> float:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free / 1e9


def _has_headers() -> bool:
    return Path(sysconfig.get_paths()['include'], 'Python.h').is_file()


@dataclass(frozen=True)
class Probe:
    """How the machine is asked; tests replace single answers."""

    which: Callable[[str], str | None] = shutil.which
    loads: Callable[[str], bool] = _loads
    has_egl_vendor: Callable[[], bool] = _has_egl_vendor
    has_headers: Callable[[], bool] = _has_headers
    has_module: Callable[[str], bool] = lambda name: importlib.util.find_spec(name) is not None
    free_gb: Callable[[Path], float] = _free_gb
    writable: Callable[[Path], bool] = lambda path: os.access(path, os.W_OK)
    python: tuple[int, int] = (sys.version_info[0], sys.version_info[1])
    system: str = platform.system()
    machine: str = platform.machine()
    is_root: bool = os.geteuid() == 0


def apt(packages: str, probe: Probe) -> str:
    """Return the command that installs Debian packages, without sudo where it is not needed."""
    sudo = '' if probe.is_root else 'sudo '
    return f'run: {sudo}apt-get install -y {packages}'


def check_platform(probe: Probe, wheels: bool) -> Problem | None:
    """The ROS 2 wheels exist for Linux on x86_64 only."""
    if not wheels or (probe.system, probe.machine) == ('Linux', 'x86_64'):
        return None
    return Problem(
        'platform', f'the ROS 2 wheels are for Linux x86_64, this is {probe.system} '
        f'{probe.machine}', 'install ROS 2 Jazzy and run: source /opt/ros/jazzy/setup.bash')


def check_python(probe: Probe) -> Problem | None:
    """The pinned wheels exist for these Pythons."""
    if PYTHONS[0] <= probe.python <= PYTHONS[1]:
        return None
    version = '.'.join(map(str, probe.python))
    return Problem('python', f'Python {version} is not supported (3.10 to 3.13 are)',
                   'run: make setup PYTHON=python3.11')


def check_compiler(probe: Probe) -> Problem | None:
    """The interface package is C and C++."""
    missing = [tool for tool in ('gcc', 'g++', 'make') if probe.which(tool) is None]
    if not missing:
        return None
    return Problem('compiler', f'{", ".join(missing)} not found', apt('g++ make', probe))


def check_headers(probe: Probe) -> Problem | None:
    """The messages' Python bindings are compiled against Python.h."""
    if probe.has_headers():
        return None
    version = '.'.join(map(str, probe.python))
    return Problem('headers', f'the headers of Python {version} are missing (Python.h)',
                   apt(f'python{version}-dev', probe))


def check_venv(probe: Probe) -> Problem | None:
    """Debian ships venv's pip (ensurepip) apart."""
    if probe.has_module('venv') and probe.has_module('ensurepip'):
        return None
    version = '.'.join(map(str, probe.python))
    return Problem('venv', f'Python {version} cannot make virtual environments (no ensurepip)',
                   apt(f'python{version}-venv', probe))


def check_disk(probe: Probe, root: Path, needed_gb: float) -> Problem | None:
    """A full disk halfway is worse than a refusal at the start."""
    free = probe.free_gb(root)
    if free >= needed_gb:
        return None
    return Problem('disk', f'{free:.1f} GB free at {root}, setup needs {needed_gb:.0f} GB',
                   f'make room, or clone to a larger disk; to see what is large, run: '
                   f'du -xsh {root}/* ~/.cache')


def check_writable(probe: Probe, root: Path) -> Problem | None:
    """Everything is made inside the checkout."""
    if probe.writable(root):
        return None
    return Problem('writable', f'{root} is not writable by this user',
                   f'run: sudo chown -R "$USER" {root}')


def check_gl(probe: Probe) -> Problem | None:
    """MuJoCo renders the simulated cameras off screen, through EGL."""
    if probe.loads('libEGL.so.1') and probe.loads('libGL.so.1') and probe.has_egl_vendor():
        return None
    return Problem('gl', 'off-screen rendering (EGL) is missing, the simulated cameras need it',
                   apt(GL_PACKAGES, probe))


def check_ros(probe: Probe, distro: str) -> list[Problem]:
    """A sourced ROS 2 installation must bring what the packages depend on."""
    problems = []
    if not probe.has_module('rclpy'):
        problems.append(Problem(
            'rclpy', f"ROS_DISTRO is '{distro}', but this Python cannot import rclpy",
            'run: make setup PYTHON=/usr/bin/python3'))
    ros_packages = [f'ros-{distro}-{name.replace("_", "-")}'
                    for name in ('cv_bridge', 'message_filters') if not probe.has_module(name)]
    if probe.which('colcon') is None:
        ros_packages.append('python3-colcon-common-extensions')
    if ros_packages:
        problems.append(Problem('rosdeps', 'dependencies of the workspace are missing',
                                apt(' '.join(ros_packages), probe)))
    return problems


def check_machine(
    root: Path, ros: str, fresh: bool, skip: frozenset[str] = frozenset(),
    probe: Probe | None = None,
) -> list[Problem]:
    """Return everything that is missing, most basic first; fresh: no environment exists yet."""
    probe = probe or Probe()
    wheels = ros == 'wheels'
    found: list[Problem | None] = [
        check_platform(probe, wheels), check_python(probe), check_compiler(probe),
        check_headers(probe), check_writable(probe, root),
        check_disk(probe, root, DISK_GB if fresh else 1.0), check_gl(probe),
    ]
    if fresh:
        found.append(check_venv(probe))
    if not wheels:
        found.extend(check_ros(probe, ros))
    return [problem for problem in found if problem is not None and problem.name not in skip]


# What pip says, in the order in which it is looked for.
PIP_FAILURES = (
    (('No space left on device',), 'pip: the disk is full', 'make room, then run: make setup'),
    (('CERTIFICATE_VERIFY_FAILED', 'SSLError'),
     'pip: the certificate of the package index is not trusted',
     'run: export PIP_CERT=/etc/ssl/certs/ca-certificates.crt && make setup'),
    (('Temporary failure in name resolution', 'NewConnectionError', 'Network is unreachable',
      'Connection refused', 'ConnectTimeoutError', 'ReadTimeoutError', 'ProxyError',
      'Connection broken', 'Could not fetch URL', 'Connection reset'),
     'pip: the package index cannot be reached',
     'check the network (or proxy: export HTTPS_PROXY=http://host:port), then run: make setup'),
    (('Permission denied',), 'pip: a file of the environment is not writable',
     'run: sudo chown -R "$USER" .venv && make setup'),
    (('No matching distribution found', 'Could not find a version'),
     'pip: the package index does not have a pinned version',
     'check the network, and which index pip uses: python3 -m pip config list'),
)


def explain_pip_failure(output: str, log: Path) -> Problem:
    """Return the likely cause of a failed pip run, from what it printed."""
    for signs, what, command in PIP_FAILURES:
        if any(sign in output for sign in signs):
            return Problem('pip', what, command)
    errors = [line for line in output.splitlines() if line.startswith('ERROR')]
    return Problem('pip', errors[0] if errors else 'pip failed', f'read: less {log}')

# SPDX-License-Identifier: Apache-2.0
"""Each thing a machine can lack is named in one line with the command that mends it."""
from dataclasses import replace
from pathlib import Path

from bootstrap.preflight import check_machine, explain_pip_failure, Probe
import pytest

ROOT = Path('/somewhere/lwd')

HEALTHY = Probe(
    which=lambda tool: f'/usr/bin/{tool}', loads=lambda library: True,
    has_egl_vendor=lambda: True, has_headers=lambda: True, has_module=lambda name: True,
    free_gb=lambda path: 100.0, writable=lambda path: True, python=(3, 11), system='Linux',
    machine='x86_64', is_root=False)


def without(*tools):
    return lambda tool: None if tool in tools else f'/usr/bin/{tool}'


def test_a_healthy_machine_has_no_problems():
    assert check_machine(ROOT, 'wheels', True, probe=HEALTHY) == []
    assert check_machine(ROOT, 'jazzy', True, probe=HEALTHY) == []


FAULTS = [
    ('compiler', {'which': without('g++')}, 'g++ not found', 'apt-get install -y g++ make'),
    ('compiler', {'which': without('make')}, 'make not found', 'apt-get install -y g++ make'),
    ('headers', {'has_headers': lambda: False}, 'Python.h', 'apt-get install -y python3.11-dev'),
    ('venv', {'has_module': lambda name: name != 'ensurepip'}, 'ensurepip',
     'apt-get install -y python3.11-venv'),
    ('python', {'python': (3, 9)}, 'Python 3.9 is not supported', 'make setup PYTHON=python3.11'),
    ('python', {'python': (3, 14)}, 'Python 3.14 is not supported', 'make setup PYTHON='),
    ('disk', {'free_gb': lambda path: 1.5}, '1.5 GB free', 'du -xsh'),
    ('gl', {'loads': lambda library: library != 'libEGL.so.1'}, 'EGL',
     'apt-get install -y libegl1 libgl1 libegl-mesa0 libgl1-mesa-dri'),
    ('gl', {'has_egl_vendor': lambda: False}, 'EGL', 'libegl-mesa0'),
    ('platform', {'machine': 'aarch64'}, 'aarch64', 'source /opt/ros/jazzy/setup.bash'),
    ('platform', {'system': 'Darwin'}, 'Darwin', 'source /opt/ros/jazzy/setup.bash'),
    ('writable', {'writable': lambda path: False}, 'not writable', 'chown'),
]


@pytest.mark.parametrize('name, fault, what, command', FAULTS)
def test_a_fault_is_one_line_with_its_command(name, fault, what, command):
    problems = check_machine(ROOT, 'wheels', True, probe=replace(HEALTHY, **fault))
    assert [problem.name for problem in problems] == [name]
    line = str(problems[0])
    assert what in line and command in line and '\n' not in line


def test_root_is_not_told_to_use_sudo():
    broken = replace(HEALTHY, which=without('g++'))
    user = check_machine(ROOT, 'wheels', True, probe=broken)
    root = check_machine(ROOT, 'wheels', True, probe=replace(broken, is_root=True))
    assert 'sudo apt-get' in str(user[0])
    assert 'sudo' not in str(root[0])


def test_all_problems_are_told_at_once():
    broken = replace(HEALTHY, which=without('gcc', 'g++'), has_headers=lambda: False,
                     free_gb=lambda path: 0.1)
    names = [problem.name for problem in check_machine(ROOT, 'wheels', True, probe=broken)]
    assert names == ['compiler', 'headers', 'disk']


def test_a_check_can_be_skipped_by_name():
    broken = replace(HEALTHY, has_egl_vendor=lambda: False)
    assert check_machine(ROOT, 'wheels', True, frozenset({'gl'}), broken) == []


def test_an_existing_environment_needs_little_disk_and_no_ensurepip():
    later = replace(HEALTHY, free_gb=lambda path: 2.0,
                    has_module=lambda name: name != 'ensurepip')
    assert check_machine(ROOT, 'wheels', False, probe=later) == []


def test_an_arm_machine_with_ros_installed_is_fine():
    assert check_machine(ROOT, 'jazzy', True, probe=replace(HEALTHY, machine='aarch64')) == []


def test_a_ros_installation_without_the_dependencies_is_told_their_packages():
    bare = replace(HEALTHY, which=without('colcon'),
                   has_module=lambda name: name not in ('cv_bridge', 'message_filters'))
    problems = check_machine(ROOT, 'jazzy', True, probe=bare)
    assert [problem.name for problem in problems] == ['rosdeps']
    for package in ('ros-jazzy-cv-bridge', 'ros-jazzy-message-filters',
                    'python3-colcon-common-extensions'):
        assert package in problems[0].command


def test_a_python_that_does_not_see_the_sourced_ros_is_told_which_does():
    other = replace(HEALTHY, has_module=lambda name: name != 'rclpy')
    problems = check_machine(ROOT, 'jazzy', True, probe=other)
    assert 'PYTHON=/usr/bin/python3' in str(problems[0])


@pytest.mark.parametrize('output, cause', [
    ('WARNING: Retrying ... NewConnectionError: Temporary failure in name resolution\n'
     'ERROR: No matching distribution found for torch==2.13.0', 'index cannot be reached'),
    ('ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device',
     'disk is full'),
    ('SSLError(SSLCertVerificationError(1, CERTIFICATE_VERIFY_FAILED', 'certificate'),
    ('ERROR: No matching distribution found for torch==2.13.0', 'does not have a pinned version'),
    ('ERROR: something new\nmore', 'something new'),
    ('', 'pip failed'),
])
def test_a_pip_failure_names_its_cause(output, cause):
    problem = explain_pip_failure(output, Path('pip.txt'))
    assert cause in problem.what
    assert '\n' not in str(problem)

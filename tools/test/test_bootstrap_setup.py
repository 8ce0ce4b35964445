# SPDX-License-Identifier: Apache-2.0
"""The setup does what is due, once, and goes on after an interruption."""
from pathlib import Path

from bootstrap import setup as bootstrap_setup
from bootstrap import wheels, workspace
from bootstrap.console import CommandFailed
from bootstrap.layout import Layout, ros_source, WHEELS
from bootstrap.ros_install import loose_requirements, requirement_names
from bootstrap.setup import Setup, SetupFailed
from bootstrap.stamp import digest, Stamps
import pytest


def write(path: Path, text: str = '') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def checkout(tmp_path):
    """Make a small checkout: one interface package, one Python package, requirements."""
    root = tmp_path / 'checkout'
    for name in ('ros.txt', 'build.txt', 'base.txt', 'dev.txt'):
        write(root / 'requirements' / name, f'{name}==1\n')
    write(root / 'requirements' / 'extras.in', 'openvino\n')
    write(root / 'colcon.meta', '{}')
    write(root / 'src/lwd_msgs/package.xml', '<package/>')
    write(root / 'src/lwd_msgs/CMakeLists.txt', 'project(lwd_msgs)')
    write(root / 'src/lwd_msgs/msg/Mode.msg', 'uint8 mode')
    write(root / 'src/lwd_core/package.xml', '<package/>')
    write(root / 'src/lwd_core/setup.py', 'setup()')
    write(root / 'src/lwd_core/lwd_core/__init__.py')
    return root


class FakeMachine:
    """Stands in for venv, pip and colcon; fails on request."""

    def __init__(self, root):
        self.root = root
        self.ran = []
        self.fail_on = None

    def __call__(self, console, command, log, env, cwd):
        words = [Path(word).name for word in command]
        what = ('colcon' if 'colcon' in words else 'venv' if 'venv' in words else
                'pip ' + ' '.join(word for word in words if word.endswith(('.txt', '.in')))
                if 'pip' in words else 'python')
        self.ran.append(what)
        if self.fail_on is not None and self.fail_on in what:
            raise CommandFailed(command, 1, 'ERROR: No space left on device', log)
        if what == 'venv':
            write(self.root / '.venv/bin/python')
            write(self.root / '.venv/pyvenv.cfg', 'version = 3.11.2\n')
        if what == 'colcon':
            for package in (self.root / 'src').iterdir():
                (self.root / 'install' / package.name).mkdir(parents=True, exist_ok=True)
        return '/numpy/include\n/python/include\n'


@pytest.fixture
def machine(checkout, monkeypatch):
    fake = FakeMachine(checkout)
    monkeypatch.setattr('bootstrap.console.Console.run',
                        lambda console, *arguments: fake(console, *arguments))
    monkeypatch.setattr(bootstrap_setup, 'check_machine', lambda *arguments: [])
    monkeypatch.setattr(bootstrap_setup, '_this_python', lambda: '3.11')
    return fake


def run(root, environ=None):
    return Setup(Layout(root), environ or {'PATH': '/usr/bin'}).run()


FULL = ['venv', 'pip ros.txt build.txt', 'pip base.txt', 'python', 'pip dev.txt', 'colcon']


def test_a_fresh_checkout_runs_every_step_and_the_second_run_none(checkout, machine):
    assert run(checkout) is True
    assert machine.ran == FULL
    machine.ran.clear()
    assert run(checkout) is False
    assert machine.ran == []


def test_extras_are_installed_once_when_asked_for_and_move_nothing_that_is_pinned(
        checkout, machine):
    run(checkout)
    machine.ran.clear()
    asked = {'PATH': '/usr/bin', 'EXTRAS': '1'}
    assert run(checkout, asked) is True
    assert machine.ran == ['pip base.txt extras.in']  # base.txt as constraints
    machine.ran.clear()
    assert run(checkout, asked) is False
    write(checkout / 'requirements' / 'extras.in', 'openvino\nrerun-sdk\n')
    assert run(checkout) is False  # who does not ask keeps what there is
    assert run(checkout, asked) is True
    assert machine.ran == ['pip base.txt extras.in']


@pytest.mark.parametrize('step', range(len(FULL)))
def test_an_interrupted_setup_goes_on_at_the_step_that_was_interrupted(checkout, machine, step):
    machine.fail_on = FULL[step]
    with pytest.raises((SetupFailed, CommandFailed)):
        run(checkout)
    machine.fail_on = None
    machine.ran.clear()
    run(checkout)
    assert machine.ran == FULL[step:]


@pytest.mark.parametrize('changed, expected', [
    ('requirements/dev.txt', ['pip dev.txt']),
    ('requirements/base.txt', ['pip base.txt', 'python']),
    ('requirements/ros.txt', ['pip ros.txt build.txt', 'python', 'colcon']),
    ('src/lwd_msgs/msg/Mode.msg', ['colcon']),
    ('src/lwd_msgs/srv/New.srv', ['colcon']),
    ('src/lwd_core/setup.py', ['colcon']),
    ('src/lwd_core/config/new.yaml', ['colcon']),
    ('colcon.meta', ['colcon']),
    ('src/lwd_core/lwd_core/new_module.py', []),
    ('src/lwd_core/lwd_core/__init__.py', []),
    ('src/lwd_core/test/test_new.py', []),
    ('src/lwd_msgs/test/test_new.py', []),
])
def test_only_what_depends_on_a_change_is_done_again(checkout, machine, changed, expected):
    run(checkout)
    machine.ran.clear()
    write(checkout / changed, 'changed')
    run(checkout)
    assert machine.ran == expected


def test_a_deleted_build_is_built_again(checkout, machine):
    run(checkout)
    machine.ran.clear()
    (checkout / 'install/lwd_core').rmdir()
    run(checkout)
    assert machine.ran == ['colcon']


def test_a_removed_package_leaves_the_install_space(checkout, machine):
    run(checkout)
    for path in ('package.xml', 'setup.py'):
        (checkout / 'src/lwd_core' / path).unlink()
    run(checkout)
    assert not (checkout / 'install/lwd_core').exists()
    assert (checkout / 'install/lwd_msgs').exists()


def test_a_moved_checkout_is_mended_and_built_again_without_pip(checkout, machine, tmp_path):
    run(checkout)
    write(checkout / '.venv/bin/pip', f'#!{checkout}/.venv/bin/python\n')
    write(checkout / '.venv/share/x/cmake/x.cmake', f'set(dir "{checkout}/.venv/include")')
    moved = tmp_path / 'elsewhere'
    checkout.rename(moved)
    machine.root = moved
    machine.ran.clear()
    run(moved)
    assert machine.ran == ['colcon']
    assert (moved / '.venv/bin/pip').read_text() == f'#!{moved}/.venv/bin/python\n'
    assert str(moved) in (moved / '.venv/share/x/cmake/x.cmake').read_text()


def test_an_environment_whose_python_is_gone_is_made_again(checkout, machine):
    run(checkout)
    machine.ran.clear()
    (checkout / '.venv/bin/python').unlink()
    run(checkout)
    assert machine.ran == FULL[:-1]


def test_a_full_disk_is_told_in_one_line(checkout, machine):
    machine.fail_on = 'pip base.txt'
    with pytest.raises(SetupFailed, match='the disk is full'):
        run(checkout)


def test_the_extra_index_reaches_pip_only_when_it_is_given(checkout, machine, monkeypatch):
    seen = []
    monkeypatch.setattr('bootstrap.console.Console.run',
                        lambda console, command, *rest: seen.append(command) or
                        machine(console, command, *rest))
    run(checkout, {'PATH': '/usr/bin', 'LWD_PIP_EXTRA_INDEX_URL': 'https://index.example/cpu'})
    pip = [command for command in seen if 'pip' in command]
    assert all(command[-2:] == ['--extra-index-url', 'https://index.example/cpu']
               for command in pip)
    seen.clear()
    write(checkout / 'requirements/dev.txt', 'changed')
    run(checkout)
    assert '--extra-index-url' not in seen[0]


def test_sourcing_another_ros_than_the_checkout_was_made_with_is_refused():
    assert ros_source(None, {}) == WHEELS
    assert ros_source(None, {'ROS_DISTRO': 'jazzy'}) == 'jazzy'
    assert ros_source('jazzy', {}) == 'jazzy'
    with pytest.raises(ValueError, match='make distclean'):
        ros_source(WHEELS, {'ROS_DISTRO': 'jazzy'})


def test_with_ros_installed_no_wheels_are_installed(checkout, machine, monkeypatch):
    monkeypatch.setattr(bootstrap_setup, 'loose_requirements',
                        lambda *paths: (['torch'], ['torch==1']))
    run(checkout, {'PATH': '/usr/bin', 'ROS_DISTRO': 'jazzy'})
    assert machine.ran == ['venv', 'pip constraints.txt', 'pip dev.txt', 'colcon']


def test_beside_ros_the_system_keeps_its_numpy(tmp_path):
    wanted = write(tmp_path / 'base.in', 'torch==2\nnumpy<3  # why\nrosbags\nsetuptools<80\n')
    locked = write(tmp_path / 'base.txt', 'numpy==2.4\nrosbags==0.11\ntorch==2.13\nzipp==1\n')
    install, constraints = loose_requirements(
        wanted, locked, importable=lambda module: module == 'numpy',
        version=lambda name: '1.26.4' if name == 'numpy' else None)
    assert install == ['torch', 'rosbags']
    assert constraints == ['numpy==1.26.4', 'rosbags==0.11', 'torch==2.13']


def test_requirement_names_ignore_comments_markers_and_repeats():
    text = "# note\nA-b==1 ; python_version < '3.11'\nA-b==2\n\n-r other.txt\nc.d\n"
    assert requirement_names(text) == ['a-b', 'c.d']


def test_build_machine_paths_become_this_machines(tmp_path):
    path = write(tmp_path / 'x.cmake',
                 '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include;'
                 '/opt/python/cp311-cp311/include/python3.11;/opt/python/cp311-cp311/lib/libx.so')
    substitutions = wheels.build_machine_paths('/v', '/n', '/i')
    assert wheels.substitute([path], substitutions) == 1
    assert path.read_text() == '/n;/i;/v/lib/libx.so'
    assert wheels.substitute([path], substitutions) == 0


def test_a_moved_path_is_not_confused_with_a_longer_name(tmp_path):
    path = write(tmp_path / 'x', '/a/lwd/bin /a/lwd2/bin "/a/lwd"')
    wheels.substitute([path], wheels.moved_checkout('/a/lwd', '/b'))
    assert path.read_text() == '/b/bin /a/lwd2/bin "/b"'


def test_the_build_does_not_see_another_environment(checkout):
    env = workspace.build_environment(Layout(checkout), WHEELS, {
        'PATH': '/usr/bin', 'PYTHONPATH': '/other', 'AMENT_PREFIX_PATH': '/other/install',
        '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1', 'LD_LIBRARY_PATH': '/other/libs'})
    assert '/other' not in ' '.join(env.values())
    assert env['AMENT_PREFIX_PATH'] == str(checkout / '.venv')


def test_stamps_are_only_current_with_the_same_value(tmp_path):
    stamps = Stamps(tmp_path)
    assert not stamps.current('a', '1')
    stamps.write('a', '1')
    assert stamps.current('a', '1') and not stamps.current('a', '2')
    stamps.forget('a')
    assert stamps.steps() == set()


def test_a_digest_tells_an_absent_file_from_an_empty_one(tmp_path):
    absent = digest([tmp_path / 'x'])
    write(tmp_path / 'x')
    assert digest([tmp_path / 'x']) != absent

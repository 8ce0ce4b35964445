# SPDX-License-Identifier: Apache-2.0
"""The node as a process: what it says when it cannot start, and that it leaves no worker behind."""

import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest
import yaml

pytest.importorskip('rclpy')

PATIENCE_S = 120.0


def launch(**parameters):
    words = [word for name, value in parameters.items() for word in ('-p', f'{name}:={value}')]
    return subprocess.Popen(
        [sys.executable, '-m', 'lwd_policy_node.policy_node', '--ros-args', '-r',
         f'__ns:=/robot{os.getpid()}', *words], stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
             'PYTHONPATH': os.pathsep.join(path for path in sys.path if path)})


def state_of(pid):
    """Return a process's state and its parent's id, None if it is gone."""
    try:
        state, parent = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return state, int(parent)


def children(pid):
    everybody = {int(path.name): state_of(path.name) for path in Path('/proc').glob('[0-9]*')}
    return [child for child, found in everybody.items() if found and found[1] == pid]


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_its_worker_when_it_is_asked_to(tmp_path, robot, number):
    (tmp_path / 'robot.yaml').write_text(yaml.safe_dump(robot.to_dict()))
    process = launch(robot_file=tmp_path / 'robot.yaml', store=tmp_path / 'store',
                     loader='fakes:load')
    try:
        wait_for(lambda: children(process.pid), 'no worker')
        worker, = children(process.pid)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0
        wait_for(lambda: (state_of(worker) or 'Z')[0] == 'Z', 'the worker lives on')
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(('changes', 'words'), [
    ({}, 'robot_file'), ({'robot_file': '/nowhere.yaml'}, '/nowhere.yaml'),
    ({'robot_file': 'x', 'join_wait': 7.0}, 'parameter join_wait: 7.0')])
def test_what_it_cannot_start_with_is_named_and_it_leaves_with_2(changes, words):
    process = launch(**changes)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2 and words in said and 'Traceback' not in said

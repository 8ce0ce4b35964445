# SPDX-License-Identifier: Apache-2.0
"""The robot files that come with LWD."""

from pathlib import Path

import pytest

from lwd_core.robot import RobotSpec
from lwd_core.task import load_tasks

CONFIG = Path(__file__).parents[3] / 'config'


@pytest.mark.parametrize(('name', 'dim', 'rate', 'cameras', 'interface'), [
    ('sim', 14, 25.0, 3, 'joint_trajectory'), ('aloha', 14, 50.0, 4, 'forward_command'),
    ('agibot_g1', 16, 30.0, 3, 'joint_trajectory'), ('openarm', 16, 25.0, 3, 'forward_command')])
def test_a_robot_file_describes_the_robot_it_names(name, dim, rate, cameras, interface):
    spec = RobotSpec.from_yaml(CONFIG / 'robots' / f'{name}.yaml')
    assert (spec.name, spec.action_dim, spec.control_rate) == (name, dim, rate)
    assert len(spec.cameras) == cameras and spec.command_interface == interface
    left, right = spec.joints[:dim // 2], spec.joints[dim // 2:]
    assert [joint.name.replace('left', 'right') for joint in left] == [j.name for j in right]
    assert all(a.velocity == b.velocity and a.acceleration == b.acceleration
               for a, b in zip(left, right))
    # One tick of full acceleration must be enough to be felt, and none must be a jump.
    assert all(joint.acceleration >= joint.velocity for joint in spec.joints)


def test_no_two_robot_files_share_a_digest():
    paths = sorted((CONFIG / 'robots').glob('*.yaml'))
    assert len({RobotSpec.from_yaml(path).digest for path in paths}) == len(paths)


def test_every_task_file_is_read():
    for path in sorted((CONFIG / 'tasks').glob('*.yaml')):
        assert load_tasks(path)

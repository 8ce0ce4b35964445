# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
import sys

import pytest

# Worker processes import the fakes by name.
sys.path.insert(0, str(Path(__file__).parent))

from lwd_core.robot import CameraSpec, JointSpec, RobotSpec


@pytest.fixture
def robot():
    joints = tuple(JointSpec(f'joint_{i}', -2.0, 2.0, 4.0, 80.0) for i in range(3))
    return RobotSpec('test', 'three joints', joints, (CameraSpec('head', 8, 6, 25.0),), 25.0,
                     state_names=('x', 'y'), home=(0.0, 0.5, 0.0))


@pytest.fixture
def world(tmp_path, robot, monkeypatch):
    """Return what makes a `World`: the policy node with the rest of its robot."""
    pytest.importorskip('rclpy')
    from node_world import World
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    made = []

    def make(**overrides):
        made.append(World(tmp_path, robot, **overrides))
        return made[-1]
    yield make
    for item in made:
        item.close()

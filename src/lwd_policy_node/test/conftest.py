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

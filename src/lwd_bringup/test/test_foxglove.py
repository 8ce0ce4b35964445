# SPDX-License-Identifier: Apache-2.0
"""The Foxglove layout shows topics that exist, and places every panel that it configures."""

import json
from pathlib import Path
import re

from lwd_core import topics
from lwd_core.robot import RobotSpec

ROOT = Path(__file__).resolve().parents[3]
LAYOUT = json.loads((ROOT / 'config/foxglove/episode.json').read_text())
ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')


def panels(node):
    return [node] if isinstance(node, str) else panels(node['first']) + panels(node['second'])


def test_every_panel_is_placed_once():
    assert sorted(panels(LAYOUT['layout'])) == sorted(LAYOUT['configById'])


def test_every_topic_of_the_layout_is_recorded():
    recorded = {f'/robot1/{spec.name}' for spec in topics.robot_topics(
        ROBOT.camera_names, ROBOT.command_interface)}
    shown = {name.split('.')[0] for name in re.findall(r'"(/robot1/[^"]+)"', json.dumps(LAYOUT))}
    assert shown and shown <= recorded
    joints = re.findall(r'joint_states\.position\[(\d+)\]', json.dumps(LAYOUT))
    assert sorted(map(int, joints)) == list(range(len(ROBOT.joint_names)))

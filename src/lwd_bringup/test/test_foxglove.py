# SPDX-License-Identifier: Apache-2.0
"""The Foxglove layout shows what a recorded bag holds: every topic, field and index of a panel."""

import json
from pathlib import Path
import re
from typing import Any

import pytest
from rosbags.typesys import get_types_from_msg

from lwd_core.episode import EpisodeBagReader
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.synthetic import Recipe, write_episode
from lwd_core.robot import RobotSpec

ROOT = Path(__file__).resolve().parents[3]
LAYOUT = json.loads((ROOT / 'config/foxglove/episode.json').read_text())
ROBOT = RobotSpec.from_dict({
    **RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml').to_dict(), 'name': 'robot1'})
IMAGES = ('sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/Image')


@pytest.fixture(scope='module')
def bag(tmp_path_factory) -> EpisodeBagReader:
    folder = tmp_path_factory.mktemp('bag') / 'e'
    write_episode(folder, ROBOT, Recipe('e', ticks=20, human=(5, 9), jpeg=lambda *_: b'jpeg'),
                  Definitions([ROOT / 'src/lwd_msgs']))
    return EpisodeBagReader(folder / 'e_0.mcap')


def panels(node: Any) -> list[str]:
    return [node] if isinstance(node, str) else panels(node['first']) + panels(node['second'])


def problems(layout: dict[str, Any], bag: EpisodeBagReader) -> list[str]:
    """Return what a panel would show nothing of, with the reason."""
    found = []
    for name, panel in layout['configById'].items():
        if topic := panel.get('imageMode', {}).get('imageTopic'):
            if bag.topics.get(topic) not in IMAGES:
                found.append(f'{name}: {topic} is {bag.topics.get(topic)}')
        if (topic := panel.get('topicPath')) and topic not in bag.topics:
            found.append(f'{name}: {topic} is not in the bag')
        for path in panel.get('paths', ()):
            for text in _path_problems(path, bag):
                found.append(f'{name}: {path["value"]}: {text}')
    return found


def _path_problems(path: dict[str, Any], bag: EpisodeBagReader) -> list[str]:
    topic, *fields = path['value'].split('.')
    if topic not in bag.topics:
        return ['is not in the bag']
    name = bag.topics[topic]
    types = get_types_from_msg(bag.definitions()[name], name)
    stamped = any(field == 'header' for field, _ in types[name][1])
    texts = [] if stamped or path['timestampMethod'] != 'headerStamp' else ['has no header stamp']
    examples = [message for _, _, message in bag.messages([topic])]
    for field in fields:
        part, index = re.fullmatch(r'(\w+)(?:\[(\d+)\])?', field).groups()
        known = dict(types.get(name, ((), ()))[1])
        if part not in known:
            return [*texts, f'{name} has no {part}']
        name = known[part][1] if isinstance(known[part][1], str) else str(known[part][1][0])
        examples = [getattr(one, part) for one in examples]
        if index is not None:
            if examples and max(map(len, examples)) <= int(index):
                return [*texts, f'{part} has {max(map(len, examples))} entries']
            examples = [one[int(index)] for one in examples if len(one) > int(index)]
    if examples and not isinstance(examples[0], str):
        float(examples[0])  # a plot draws numbers
    return texts


def test_every_panel_is_placed_once():
    assert sorted(panels(LAYOUT['layout'])) == sorted(LAYOUT['configById'])


def test_every_topic_field_and_index_of_the_layout_is_in_a_recorded_bag(bag):
    assert problems(LAYOUT, bag) == []


def test_every_joint_is_drawn_as_measured_and_as_sent_under_its_own_name(bag):
    paths = [path for panel in LAYOUT['configById'].values() for path in panel.get('paths', ())]
    for topic, field, ending in (('joint_states', 'position', ''),
                                 ('executed_action', 'sent', ' sent')):
        labels = {int(match[1]): path['label'] for path in paths if (match := re.fullmatch(
            rf'/robot1/{topic}\.{field}\[(\d+)\]', path['value']))}
        assert labels == {index: name + ending for index, name in enumerate(ROBOT.joint_names)}


@pytest.mark.parametrize(('value', 'text'), [
    ('/robot1/joint_state.position[0]', 'is not in the bag'),
    ('/robot1/joint_states.positions[0]', 'JointState has no positions'),
    ('/robot1/joint_states.position[14]', 'has 14 entries'),
    ('/robot1/episode.outcome.values', 'Outcome has no values'),
])
def test_a_path_that_leads_nowhere_is_found(bag, value, text):
    layout = {'configById': {'Plot!x': {'paths': [
        {'value': value, 'timestampMethod': 'receiveTime'}]}}}
    assert text in problems(layout, bag)[0]

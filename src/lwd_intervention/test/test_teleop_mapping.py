# SPDX-License-Identifier: Apache-2.0
"""Mapping files: what is right is read, what is wrong is refused with file, key, value, bound."""

from pathlib import Path

import numpy as np
import pytest
from teleop_fixtures import PAD, pad

from lwd_core.spec import SpecError
from lwd_intervention.teleop.building import best_match, find_mapping
from lwd_intervention.teleop.cheatsheet import as_text, cheatsheet
from lwd_intervention.teleop.controls import deadman_held, deflections, JoySample, Presses
from lwd_intervention.teleop.mapping import Mapping

FOLDER = Path(__file__).parents[3] / 'config' / 'teleop'
FILES = sorted(FOLDER.glob('*.yaml'))


def joy(stick=0.0, *down, stamp=0):
    return JoySample(stamp, (stick,), [int(name in down) for name in PAD['buttons']])


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_every_mapping_that_ships_is_valid_and_drives_both_arms(path):
    mapping = Mapping.from_yaml(path)
    assert set(mapping.arms) == {'left', 'right'}
    for arm in mapping.arms:
        layers = mapping.layers.get(arm, mapping.layers.get(''))
        reached = {component for layer in layers.values() for component in layer}
        assert reached >= {'x', 'y', 'z', 'rx', 'ry', 'rz'}
        assert 'jaw' in reached or 'jaw_toggle' in mapping.actions
    assert {'estop', 'handback', 'success', 'failure', 'discard'} <= set(mapping.actions)


@pytest.mark.parametrize('path', [path for path in FILES if path.stem != 'scripted'],
                         ids=lambda path: path.stem)
def test_every_device_can_say_why(path):
    mapping = Mapping.from_yaml(path)
    words = [name for name in mapping.actions if name.startswith('reason: ')]
    assert len(words) == 4
    assert 'say why: it missed the grasp' in as_text(mapping)


def test_a_chord_that_says_why_does_not_press_its_last_button_too():
    presses = Presses(pad(reasons={'it slips': ['back', 'r3']}))
    presses.take(joy(0.0))
    assert presses.take(joy(0.0, 'back', stamp=1)) == []
    assert presses.take(joy(0.0, 'back', 'r3', stamp=2)) == ['reason: it slips']


def test_the_files_that_the_issue_names_are_there():
    names = {path.stem for path in FILES}
    assert names >= {'xbox', 'ps4', 'ps5', 'f710', 'spacemouse', 'keyboard', 'scripted'}


def test_gamepads_share_the_layout_of_sdl_and_of_ros():
    pads = [Mapping.from_yaml(FOLDER / f'{name}.yaml') for name in ('xbox', 'ps4', 'ps5', 'f710')]
    assert len({(mapping.axes, mapping.buttons) for mapping in pads}) == 1
    assert pads[0].axes == ('left_x', 'left_y', 'right_x', 'right_y', 'left_trigger',
                            'right_trigger')
    assert pads[0].buttons[9:11] == ('left_shoulder', 'right_shoulder')


@pytest.mark.parametrize(('changes', 'words'), [
    ({'deadman': {'left': 'nothing'}}, ["deadman: left: is 'nothing'", 'must be one of lb, rb']),
    ({'deadman': {}}, ['deadman: is empty']),
    ({'deadman': {'left': 'stick'}}, ["deadman: left: is 'stick'"]),
    ({'device': 'phone'}, ["device: is 'phone'", 'gamepad, joystick']),
    ({'deadzone': 1.5}, ['deadzone', '1.5', 'at most 0.9']),
    ({'layers': {'move': {'w': 'stick'}}}, ["'w' is no component", 'x, y, z']),
    ({'layers': {'move': {'x': 'a'}}}, ["'a' is a button", '{plus: NAME, minus: NAME}']),
    ({'layers': {'move': {'x': {'plus': 'a'}}}}, ['minus: is missing']),
    ({'arms': {'left': {'move': {'x': 'stick'}}}}, ['either layers', 'or arms']),
    ({'actions': {'dance': 'a'}}, ["'dance' is no action", 'estop']),
    ({'reasons': {'slips': 'nothing'}}, ["reasons: slips: is 'nothing'", 'must be one of lb, rb']),
    ({'reasons': {7: 'r3'}}, ['reasons: 7 is no reason, must be words']),
    ({'reasons': {'slips': 'a'}}, ['a means both success and reason: slips']),
    ({'actions': {'success': 'a', 'failure': 'a'}}, ['a means both success and failure']),
    ({'actions': {'success': 'lb'}}, ["'lb' is a deadman"]),
    ({'buttons': ['lb', 'lb', 'rb']}, ["'lb' is given twice"]),
    ({'buttons': ['lb', True]}, ['has True', 'quote']),
    ({'speed': {'linear': 9.0}}, ['speed: linear', '9.0', 'at most 2']),
    ({'sticks': 1}, ['sticks']),
])
def test_a_wrong_file_is_refused_naming_what_and_the_bound(changes, words):
    with pytest.raises(SpecError) as refused:
        pad(**changes)
    assert str(refused.value).startswith('pad.yaml')
    for word in words:
        assert word in str(refused.value)


def test_an_unknown_mapping_names_those_there_are():
    with pytest.raises(SpecError, match='keyboard.*xbox'):
        find_mapping('atari', str(FOLDER))


@pytest.mark.parametrize(('device', 'name'), [
    ('Xbox Series X Controller', 'xbox'), ('Sony DualSense Wireless Controller', 'ps5'),
    ('PS4 Controller', 'ps4'), ('Logitech F710 Gamepad', 'f710'),
    ('3Dconnexion SpaceMouse Pro', 'spacemouse'), ('Some Pad 3000', 'xbox')])
def test_a_device_finds_its_mapping_by_its_name(device, name):
    mappings = [Mapping.from_yaml(path) for path in FILES]
    assert best_match(mappings, device).name == name


def test_sticks_start_at_zero_beyond_the_deadzone_and_reach_one():
    def x(stick, **changes):
        return deflections(pad(**changes), joy(stick), 'left', 'move')[0]
    assert x(0.1) == 0.0 and x(-0.05) == 0.0
    assert x(0.1001) == pytest.approx(0.0, abs=1e-3)
    assert x(1.0) == 1.0 and x(-1.0) == -1.0 and x(7.0) == 1.0
    assert x(0.55) == pytest.approx(0.5) and x(0.55, curve=2.0) == pytest.approx(0.25)


def test_a_pair_of_triggers_opens_and_closes_the_jaw():
    mapping = Mapping.from_yaml(FOLDER / 'xbox.yaml')
    axes = dict.fromkeys(mapping.axes, 0.0)

    def jaw(**values):
        sample = JoySample(0, tuple({**axes, **values}.values()), [0] * 15)
        return deflections(mapping, sample, 'left', 'move')[6]
    assert jaw(left_trigger=-1.0) == 1.0 and jaw(right_trigger=-1.0) == -1.0
    assert jaw() == 0.0 and jaw(left_trigger=-1.0, right_trigger=-1.0) == 0.0


def test_keys_of_our_window_may_be_missing_where_another_node_reads_the_device():
    mapping = Mapping.from_yaml(FOLDER / 'spacemouse.yaml')
    sample = JoySample(0, (0.0,) * 6, (1, 0))
    assert deadman_held(mapping, sample) == {'left': True, 'right': True}
    assert Presses(mapping).take(sample) == []


def test_a_button_acts_at_its_press_only():
    presses = Presses(pad())
    assert presses.take(joy(0, 'a')) == [], 'down since the start'
    assert presses.take(joy(0)) == []
    assert presses.take(joy(0, 'a')) == ['success']
    assert presses.take(joy(0, 'a')) == []
    assert presses.take(joy(0)) == [] and presses.take(joy(0, 'a')) == ['success']


def test_a_chord_wins_over_the_button_within_it():
    presses = Presses(pad())
    presses.take(joy(0))
    assert presses.take(joy(0, 'back')) == []
    assert presses.take(joy(0, 'back', 'x')) == ['discard']


def test_a_button_held_across_a_boundary_must_be_seen_up_after_it():
    presses = Presses(pad())
    presses.take(joy(0, stamp=1))
    presses.block(100, keep=('estop',))
    assert presses.take(joy(0, stamp=99)) == [], 'up, but before the boundary'
    assert presses.take(joy(0, 'a', 'b', stamp=101)) == ['estop']
    assert presses.take(joy(0, stamp=102)) == []
    assert presses.take(joy(0, 'a', stamp=103)) == ['success']


def test_the_cheatsheet_says_the_deadman_first_and_every_action():
    mapping = Mapping.from_yaml(FOLDER / 'ps5.yaml')
    rows = cheatsheet(mapping)
    assert rows[0][0] == 'L1 (left arm), R1 (right arm)' and 'HOLD to drive' in rows[0][1]
    text = as_text(mapping)
    assert 'circle' in text and 'EMERGENCY STOP' in text and 'CREATE + square' in text
    assert np.all([len(line) < 100 for line in text.splitlines()])

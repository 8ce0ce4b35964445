# SPDX-License-Identifier: Apache-2.0
"""Sticks to joints on the simulated robot's arms: directions, limits, singularities, frames."""

from pathlib import Path

import numpy as np
import pytest

from lwd_core.robot import RobotSpec
from lwd_core.spec import SpecError
from lwd_intervention.teleop.arms import Arms
from lwd_intervention.teleop.controls import JoySample
from lwd_intervention.teleop.ik import ArmIK, load_model
from lwd_intervention.teleop.joystick import JoystickSource
from lwd_intervention.teleop.mapping import Mapping

CONFIG = Path(__file__).parents[3] / 'config'
ROBOT = RobotSpec.from_yaml(CONFIG / 'robots' / 'sim.yaml')
ARMS = Arms.from_yaml(CONFIG / 'teleop' / 'arms' / 'sim.yaml', ROBOT)
HOME = np.array([0.0, -0.9, 1.2, 0.0, -0.1, 0.0])
BENT = np.array([0.3, -0.7, 1.0, 0.2, 0.5, -0.2])      # far from every singularity
DT = 0.04


@pytest.fixture
def ik():
    return ArmIK(load_model(str(ARMS.model)), ARMS.arms[0], ROBOT, HOME)


def follow(ik, start, twist, ticks):
    """Return the tool's way [3], its turn [rad], and the steps."""
    ik.begin(start)
    (before, turned), joints, steps = ik.pose(start), start, []
    for _ in range(ticks):
        steps.append(ik.step(joints, np.array(twist, dtype=float), DT))
        joints = steps[-1].joints
    after, rotation = ik.pose(joints)
    angle = np.arccos(np.clip((np.trace(rotation @ turned.T) - 1) / 2, -1.0, 1.0))
    return after - before, angle, steps


@pytest.mark.parametrize('axis', range(3))
@pytest.mark.parametrize('sign', [1.0, -1.0])
def test_the_tool_goes_where_the_stick_points_and_keeps_its_direction(ik, axis, sign):
    twist = np.zeros(6)
    twist[axis] = 0.2 * sign
    way, turn, steps = follow(ik, BENT, twist, 12)
    assert way == pytest.approx(twist[:3] * 12 * DT, abs=0.004)
    assert turn < 0.05 and min(step.scale for step in steps) > 0.9


@pytest.mark.parametrize('axis', range(3))
def test_the_tool_turns_about_its_own_centre(ik, axis):
    twist = np.zeros(6)
    twist[3 + axis] = 0.6
    way, turn, steps = follow(ik, BENT, twist, 8)
    assert np.linalg.norm(way) < 0.006
    assert turn == pytest.approx(0.6 * 8 * DT * np.mean([s.scale for s in steps]), abs=0.04)


def test_without_a_twist_nothing_moves(ik):
    ik.begin(BENT)
    step = ik.step(BENT, np.zeros(6), DT)
    assert np.array_equal(step.joints, BENT) and (step.scale, step.reason) == (1.0, '')


def test_out_of_reach_slows_to_a_stop_in_its_own_direction_and_says_why(ik):
    way, _, steps = follow(ik, HOME, [0.0, 0.25, 0.0, 0.0, 0.0, 0.0], 150)
    scales = np.array([step.scale for step in steps])
    assert scales[0] > 0.95 and scales[-1] < 0.01 and (np.diff(scales) < 0.05).all()
    assert way[1] > 0.4 and np.abs(way[[0, 2]]).max() < 0.03, 'bent off its direction'
    assert 'singular' in steps[-1].reason or 'reach' in steps[-1].reason
    assert np.array_equal(steps[-1].joints, steps[-2].joints), 'creeps on'


def test_the_way_back_from_the_edge_of_the_reach_is_free(ik):
    _, _, steps = follow(ik, HOME, [0.0, 0.25, 0.0, 0.0, 0.0, 0.0], 150)
    way, _, _ = follow(ik, steps[-1].joints, [0.0, -0.25, 0.0, 0.0, 0.0, 0.0], 25)
    assert way[1] < -0.15


def test_a_straight_wrist_slows_a_turn_and_says_so(ik):
    straight = np.array([0.0, -0.9, 1.2, 0.0, 0.0, 0.0])
    _, _, steps = follow(ik, straight, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0], 5)
    assert steps[0].scale < 0.1 and 'singular' in steps[0].reason


@pytest.mark.parametrize('turn', [0.03, 0.3, 1.0])
def test_a_turn_that_cannot_be_made_does_not_stop_the_way(ik, turn):
    straight = np.array([0.0, -0.2, 1.05, 0.0, 0.0, 0.0])
    alone, _, _ = follow(ik, straight, [0.0, 0.0, -0.2, 0.0, 0.0, 0.0], 10)
    way, _, steps = follow(ik, straight, [0.0, 0.0, -0.2, 0.0, 0.0, turn], 10)
    assert steps[0].scale < 0.2 and 'singular' in steps[0].reason, 'the turn is slowed, and told'
    assert way[2] < 0.9 * alone[2] < -0.05, 'the arm stands although it can go where it is pushed'
    assert np.abs(way[:2]).max() < 0.01, 'bent off its direction'


def test_no_joint_exceeds_its_limits_or_its_speed_whatever_is_asked(ik):
    rng = np.random.default_rng(0)
    for _ in range(20):
        joints = rng.uniform(ik.lower, ik.upper)
        ik.begin(joints)
        twist = rng.normal(size=6) * [1, 1, 1, 4, 4, 4]
        for _ in range(10):
            step = ik.step(joints, twist, DT)
            assert np.isfinite(step.joints).all() and 0.0 <= step.scale <= 1.0
            assert (step.joints >= ik.lower).all() and (step.joints <= ik.upper).all()
            assert (np.abs(step.joints - joints) <= ik.speed * DT + 1e-9).all()
            joints = step.joints


def test_a_joint_limit_is_named(ik):
    _, _, steps = follow(ik, HOME, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0], 60)
    assert any('left/' in step.reason and 'limit' in step.reason for step in steps)


@pytest.mark.parametrize(('change', 'words'), [
    ({'tool': 'left/hand'}, "tool: 'left/hand' is no site and no body"),
    ({'joints': ['left/jaw']}, "joint 'left/jaw' is not in the model")])
def test_what_the_model_lacks_is_refused_by_name(change, words):
    data = {'model': 'sim.xml', 'arms': {'left': {'base': 'left/base', 'tool': 'left/tcp',
                                                  'jaw': 'left/jaw', **change}}}
    with pytest.raises(SpecError, match=words):
        arms = Arms.from_dict(data, ROBOT, CONFIG / 'teleop' / 'arms', 'arms.yaml')
        ArmIK(load_model(str(arms.model)), arms.arms[0], ROBOT, HOME)


def source(name='xbox'):
    mapping = Mapping.from_yaml(CONFIG / 'teleop' / f'{name}.yaml')
    made = JoystickSource(mapping, ARMS, ROBOT)
    made.begin(np.array(ROBOT.home))
    return made


def look(made, *down, **axes):
    mapping = made.mapping
    made.look(JoySample(0, tuple(axes.get(name, 0.0) for name in mapping.axes),
                        [int(name in down) for name in mapping.buttons]))


def tool(made, positions, arm='left'):
    return made._ik[arm].pose(positions[made._at[arm]])


BOTH = {'left': True, 'right': True}


def drive(made, ticks=10, held=BOTH):
    step = None
    for k in range(ticks):
        step = made.step(k, held, None)
    return step


def test_forward_on_the_stick_is_away_from_the_robot_for_the_selected_arm():
    made = source()
    look(made, left_y=1.0)
    before = np.array(ROBOT.home)
    after = drive(made).positions
    way = tool(made, after)[0] - tool(made, before)[0]
    assert way[1] > 0.05 and np.abs(way[[0, 2]]).max() < 0.01
    assert np.array_equal(after[7:], before[7:]), 'the arm that is not selected stands'
    assert made.act('select_both') == 'moves left and right arm'
    moved = drive(made).positions
    assert tool(made, moved, 'right')[0][1] > tool(made, before, 'right')[0][1] + 0.05


def test_an_arm_whose_deadman_is_not_held_stands_and_stops_at_once():
    made = source()
    made.act('select_both')
    look(made, left_y=1.0)
    drive(made)
    before = made.step(0, BOTH, None).positions
    after = made.step(0, {'left': True, 'right': False}, None).positions
    assert np.array_equal(after[7:], before[7:]) and not np.array_equal(after[:7], before[:7])


def test_the_frames_differ_as_they_should():
    ways = {}
    for presses in range(3):
        made = source()
        tipped = np.array(ROBOT.home)
        tipped[4] += 0.6                       # the gripper points down a good deal
        made.begin(tipped)
        for _ in range(presses):
            made.act('frame')
        look(made, left_y=1.0)
        ways[made.frame] = tool(made, drive(made).positions)[0] - tool(made, tipped)[0]
    assert ways['base'][1] > 0.05 and abs(ways['base'][2]) < 0.01
    assert ways['task'][0] > 0.05, 'x of the task frame is right'
    assert ways['tool'][1] > 0.02 and ways['tool'][2] < -0.02, 'along the gripper'


def test_slow_is_slow_and_the_start_is_ramped():
    made = source()
    look(made, left_y=1.0)
    first = made.step(0, BOTH, None).positions
    drive(made, 10)
    one, two = drive(made, 1).positions, drive(made, 1).positions
    fast = np.linalg.norm(tool(made, two)[0] - tool(made, one)[0])
    start = np.linalg.norm(tool(made, first)[0] - tool(made, np.array(ROBOT.home))[0])
    assert fast == pytest.approx(0.25 * DT, rel=0.05) and start < 0.5 * fast
    assert made.act('slow') == 'slow'
    drive(made, 10)
    one, two = drive(made, 1).positions, drive(made, 1).positions
    assert np.linalg.norm(tool(made, two)[0] - tool(made, one)[0]) == pytest.approx(
        0.3 * fast, rel=0.1)


def test_the_jaw_follows_triggers_within_its_range_and_toggles():
    made = source()
    look(made, right_trigger=-1.0)
    assert drive(made, 1).positions[6] == pytest.approx(0.92)
    assert drive(made, 40).positions[6] == pytest.approx(0.02)
    look(made)
    made.act('jaw_toggle')
    assert drive(made, 40).positions[6] == pytest.approx(0.98)


def test_a_blocked_arm_is_not_wound_up():
    made = source()
    stuck = np.array(ROBOT.home)
    look(made, left_y=1.0)
    for k in range(100):
        step = made.step(k, BOTH, stuck)
    assert np.abs(step.positions[:6] - stuck[:6]).max() <= 0.35 + 1e-9
    assert 'does not follow' in step.reason

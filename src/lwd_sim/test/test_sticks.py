# SPDX-License-Identifier: Apache-2.0
"""The scripted operator's hands and sticks, and the arms' model that teleoperation computes on."""
from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml

from lwd_sim.geometry import gripper_rotation
from lwd_sim.names import ARM_JOINTS, arm_slice, ARMS, HOME, jaw_index
from lwd_sim.operating import Intent
from lwd_sim.sticks import ANGULAR, BUTTONS, deflections, Hands, JAW, LINEAR, StickOperator
from lwd_sim.world import World

TELEOP = Path(__file__).parents[3] / 'config' / 'teleop'


@pytest.fixture(scope='module')
def world():
    made = World('place')
    made.reset(3)
    return made


def test_the_layout_and_speeds_are_those_of_the_mapping():
    data = yaml.safe_load((TELEOP / 'scripted.yaml').read_text())
    assert tuple(data['buttons']) == BUTTONS
    speed = data['speed']
    assert (speed['linear'], speed['angular'], speed['jaw']) == (LINEAR, ANGULAR, JAW)
    assert data['deadzone'] == 0.0 and data['curve'] == 1.0 and len(data['axes']) == 14


@pytest.mark.parametrize('arm', ARMS)
def test_the_arms_model_of_teleoperation_is_that_of_the_scene(world, arm):
    model = mujoco.MjModel.from_xml_path(str(TELEOP / 'arms' / 'sim.xml'))
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    for _ in range(20):
        joints = rng.uniform(*world.joint_limits.T)
        for name, value in zip(ARM_JOINTS, joints):
            data.joint(f'{arm}/{name}').qpos[0] = value
        mujoco.mj_kinematics(model, data)
        position, rotation, _ = world.tool_at(world.scratch(), arm, joints)
        site = data.site(f'{arm}/tcp')
        assert site.xpos == pytest.approx(position, abs=1e-9)
        assert site.xmat.reshape(3, 3) == pytest.approx(rotation, abs=1e-6)
    ranges = np.array([model.joint(f'{arm}/{name}').range for name in ARM_JOINTS])
    assert ranges == pytest.approx(world.joint_limits)


def test_wanting_nothing_deflects_nothing(world):
    action = np.concatenate([np.append(world.arm_command(arm), world.jaw_command(arm))
                             for arm in ARMS])
    assert deflections(world, action) == pytest.approx(np.zeros(14), abs=1e-9)


def test_a_wanted_turn_of_the_waist_is_a_push_to_the_left_and_a_turn_to_the_left(world):
    action = HOME.copy()
    for arm in ARMS:
        action[arm_slice(arm)] = world.arm_command(arm)
        action[jaw_index(arm)] = world.jaw_command(arm)
    action[0] += 0.05
    axes = deflections(world, action)
    assert axes[1] > 0.2 and axes[5] > 0.2, 'y left and rz left of the left arm'
    assert axes[7:] == pytest.approx(np.zeros(7), abs=1e-9)
    assert gripper_rotation(0.0)[1, 0] == pytest.approx(1.0), 'forward is away from the robot'


def test_an_unanswered_deadman_is_gripped_anew():
    hands, down = Hands(), []
    for _ in range(24):
        hands.drive(in_force=False)
        down.append(hands.deadman)
    assert down[0] and not all(down) and down.count(False) == 2
    for _ in range(24):
        hands.drive(in_force=True)
        assert hands.deadman


def test_a_button_is_let_go_and_pressed_again_while_it_is_wanted():
    hands, presses = Hands(), 0
    before = 0
    for _ in range(24):
        hands.press('success')
        now = hands.buttons()[BUTTONS.index('success')]
        presses += now and not before
        before = now
    assert 3 <= presses <= 5
    hands.release()
    assert not any(hands.buttons())


def test_he_hands_back_with_the_deadman_held_until_the_policy_drives(world):
    operator = StickOperator()
    operator.act(world, Intent(take_over='slow'), True, False, True)
    axes, buttons = operator.act(world, Intent(HOME), True, True, False)
    assert buttons[0] and buttons[1] and not buttons[2]
    axes, buttons = operator.act(world, Intent(hand_back='done'), False, True, False)
    assert not axes.any() and buttons[0] and buttons[2]
    axes, buttons = operator.act(world, Intent(), False, True, False)
    assert buttons[0], 'not granted yet'
    axes, buttons = operator.act(world, Intent(), False, False, True)
    assert not any(buttons)


def toppled(turn):
    """Return a cell whose milk lies on the table, its long side turned by `turn` [deg]."""
    made = World('place')
    made.reset(7)
    qpos, qvel, ctrl = made.state()
    joint = int(np.flatnonzero(made.model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)[0])
    address = made.model.jnt_qposadr[joint]
    lies, turned, both = np.zeros(4), np.zeros(4), np.zeros(4)
    mujoco.mju_axisAngle2Quat(lies, np.array([0.0, 1.0, 0.0]), np.pi / 2)
    mujoco.mju_axisAngle2Quat(turned, np.array([0.0, 0.0, 1.0]), np.deg2rad(turn))
    mujoco.mju_mulQuat(both, turned, lies)
    qpos = qpos.copy()
    qpos[address:address + 7] = [-0.25, 0.33, 0.035, *both]
    made.set_state(qpos, np.zeros_like(qvel), ctrl)
    made.steps = 0
    return made


@pytest.mark.parametrize('turn', [-90, -60, 120, 150])
def test_through_sticks_and_ik_he_picks_up_what_fell_over(turn):
    # The way down leads past a straight wrist, where the turn that he asks for cannot be made.
    joystick = pytest.importorskip('lwd_intervention.teleop.joystick')
    from lwd_core.robot import RobotSpec
    from lwd_intervention.teleop.arms import Arms
    from lwd_intervention.teleop.controls import JoySample
    from lwd_intervention.teleop.mapping import Mapping
    from lwd_sim.expert import Expert
    robot = RobotSpec.from_yaml(TELEOP.parent / 'robots' / 'sim.yaml')
    source = joystick.JoystickSource(
        Mapping.from_yaml(TELEOP / 'scripted.yaml'),
        Arms.from_yaml(TELEOP / 'arms' / 'sim.yaml', robot), robot)
    cell, expert = toppled(turn), Expert('place')
    source.begin(np.concatenate([np.append(cell.arm_command(arm), 0.98) for arm in ARMS]))
    for tick in range(100):
        axes = deflections(cell, expert.act(cell))
        source.look(JoySample(0, tuple(axes), (1, 1, 0, 0, 0, 0, 0)))
        if cell.step(source.step(tick, dict.fromkeys(ARMS, True), cell.joints()).positions):
            break
    assert cell.success()

# SPDX-License-Identifier: Apache-2.0
"""Workspace boxes and the distance of two arms, on a model small enough to compute by hand."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from lwd_core.guard import Clamp, CommandGuard
from lwd_core.robot import JointSpec, RobotSpec
from lwd_core.spec import SpecError
from lwd_intervention.arbiter.workspace import MujocoWorkspace

DT = 0.04
# Two sliders along x, towards each other, each with a ball of 0.05 m and a hinge that lifts a tool.
MODEL = '''<mujoco><compiler angle="radian"/><worldbody>
<body name="left" pos="-0.5 0 0"><joint name="left/slide" type="slide" axis="1 0 0"/>
 <geom type="sphere" size=".05"/><body name="left/arm"><joint name="left/lift" axis="0 -1 0"/>
 <geom type="sphere" size=".01" pos="0 0.5 0" /><site name="left/tcp" pos=".2 0 0"/></body></body>
<body name="right" pos="0.5 0 0"><joint name="right/slide" type="slide" axis="1 0 0"/>
 <geom name="right/ball" type="sphere" size=".05"/></body></worldbody></mujoco>'''
JOINTS = (JointSpec('left/slide', -1.0, 1.0, 1.0, 2.0), JointSpec('left/lift', -1.5, 1.5, 2.0, 8.0),
          JointSpec('right/slide', -1.0, 1.0, 1.0, 2.0), JointSpec('left/jaw', 0.0, 1.0, 5.0, 1e3))
BOX = {'frame': 'left/tcp', 'lower': [-1.0, -1.0, -0.1], 'upper': [1.0, 1.0, 0.1]}
WORKSPACE = {'boxes': [BOX],
             'min_distance': 0.1, 'bodies': ['left', 'right']}


def robot(**workspace):
    data = RobotSpec('r', 'm', JOINTS, (), 25.0, home=(0.0,) * 4, mjcf='model.xml').to_dict()
    return RobotSpec.from_dict({**data, 'workspace': {**WORKSPACE, **workspace}})


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('model')
    (path / 'model.xml').write_text(MODEL)
    return path


@pytest.fixture(scope='module')
def workspace(folder):
    return MujocoWorkspace.for_robot(robot(), folder / 'robot.yaml')


def test_a_violation_is_the_distance_outside(workspace):
    assert workspace.violation(np.zeros(4)) == pytest.approx(-0.1)  # tool in the middle of z
    assert workspace.violation(np.array([0.0, 0.6, 0.0, 0.0])) == pytest.approx(
        0.2 * np.sin(0.6) - 0.1)
    assert workspace.violation(np.array([0.4, 0.0, -0.45, 0.0])) == pytest.approx(0.1 - 0.05)
    assert 'left/tcp would be at z = 0.113 m, bounds -0.100 to 0.100 m' == workspace.describe(
        np.array([0.0, 0.6, 0.0, 0.0]))
    assert 'would be 0.050 m from right/ball, at least 0.100 m' in workspace.describe(
        np.array([0.4, 0.0, -0.45, 0.0]))


def test_two_arms_sent_at_each_other_stop_before_they_are_too_near(workspace):
    guard, previous, clamped = CommandGuard(robot(), workspace), None, Clamp.NONE
    for _ in range(80):
        result = guard.check([1.0, 0.0, -1.0, 0.0], previous, np.zeros(4), DT)
        previous, clamped = result.sent, clamped | result.clamped
        assert workspace.violation(previous) <= 1e-9
    gap = (0.5 + previous[2]) - (-0.5 + previous[0]) - 0.1
    assert 0.1 - 1e-9 <= gap < 0.16 and clamped & Clamp.WORKSPACE
    assert any('workspace' in reason for reason in result.reasons)
    back = guard.check([0.0, 0.0, 0.0, 0.0], previous, None, DT)
    assert back.sent[0] < previous[0]  # away from it is allowed


def test_a_robot_that_starts_outside_may_come_in_but_not_go_further_out(workspace):
    outside = np.array([0.0, 0.9, 0.0, 0.0])
    guard = CommandGuard(robot(), workspace)
    result = guard.check([0.0, 1.4, 0.0, 0.0], None, outside, DT)
    assert result.sent[1] == pytest.approx(0.9) and result.clamped & Clamp.WORKSPACE
    previous = result.sent
    for _ in range(60):
        previous = guard.check([0.0, 0.0, 0.0, 0.0], previous, None, DT).sent
    assert previous[1] == pytest.approx(0.0)


anything = st.floats(allow_nan=True, allow_infinity=True)
event = st.one_of(st.lists(st.one_of(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0), anything),
                           min_size=4, max_size=4), st.none())


@settings(deadline=None, max_examples=60)
@given(st.lists(event, max_size=40), st.sampled_from([None, 20.0]))
def test_no_sequence_of_requests_leaves_the_workspace(workspace, events, jerk):
    spec = robot()
    spec = replace(spec, joints=tuple(
        replace(joint, jerk=jerk if joint.acceleration < 10 else None) for joint in spec.joints))
    guard, previous, speed = CommandGuard(spec, workspace), np.zeros(4), np.zeros(4)
    for request in events:
        result = (guard.hold(previous, None, DT) if request is None
                  else guard.check(request, previous, None, DT))
        velocity = (result.sent - previous) / DT
        assert workspace.violation(result.sent) <= 1e-6
        assert (np.abs(velocity) <= guard.velocity + 1e-9).all()
        assert (np.abs(velocity - speed) <= guard.acceleration * DT + 1e-9).all()
        previous, speed = result.sent, velocity


@pytest.mark.parametrize(('change', 'words'), [
    ({'boxes': [{'frame': 'hand', 'lower': [0, 0, 0], 'upper': [1, 1, 1]}]},
     "no site or body 'hand'"),
    ({'bodies': ['left', 'middle']}, "no body 'middle'"),
])
def test_a_workspace_that_the_model_does_not_know_is_refused_by_name(folder, change, words):
    with pytest.raises(SpecError, match=words):
        MujocoWorkspace.for_robot(robot(**change), folder / 'robot.yaml')

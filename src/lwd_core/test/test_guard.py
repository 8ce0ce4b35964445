# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
import re

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from lwd_core.guard import Clamp, CommandGuard
from lwd_core.robot import JointSpec, RobotSpec

DT = 0.04
NAMES = ('elbow', 'wrist', 'jaw')
JOINTS = (JointSpec('elbow', -1.0, 2.0, 3.0, 20.0), JointSpec('wrist', -3.0, -1.0, 1.0, 2.0),
          JointSpec('jaw', 0.0, 1.0, 5.0, 1e9))
HOME = np.array([0.0, -2.0, 0.5])


def make_guard():
    return CommandGuard(RobotSpec('r', 'm', JOINTS, (), 25.0))


def sent(guard, requests, previous=None, dt=DT):
    out = []
    for request in requests:
        result = guard.check(request, previous, HOME, dt)
        previous = result.sent
        out.append(result)
    return out


def test_a_request_that_can_be_followed_is_sent_bit_for_bit():
    requests = [HOME + k * np.array([0.001, -0.0005, 0.01]) for k in range(1, 20)]
    for request, result in zip(requests, sent(make_guard(), requests)):
        assert result.clamped == Clamp.NONE and result.reasons == ()
        assert np.array_equal(result.sent, request)


@pytest.mark.parametrize(('request_', 'bits', 'reason'), [
    ([0.0, -2.0, 1.5], Clamp.POSITION | Clamp.VELOCITY, 'jaw: 1.5 outside 0 to 1'),
    ([1.9, -2.0, 0.5], Clamp.VELOCITY | Clamp.ACCELERATION, 'elbow: 47.5 /s asked, 0.8 /s sent'),
    ([0.11, -2.0, 0.5], Clamp.ACCELERATION, 'elbow: 2.75 /s asked, 0.8 /s sent'),
    ([float('nan'), -2.0, 0.5], Clamp.INVALID, 'positions: elbow is not finite'),
    ([0.0, float('-inf'), 0.5], Clamp.INVALID, 'positions: wrist is not finite'),
    ([0.0, -2.0], Clamp.INVALID, r'positions: shape \(2,\), must be \(3,\)'),
    ('abc', Clamp.INVALID, 'positions: not numbers'),
])
def test_what_cannot_be_followed_is_clamped_and_named(request_, bits, reason):
    result = make_guard().check(request_, None, HOME, DT)
    assert result.clamped == bits
    assert any(re.match(reason, text) for text in result.reasons), result.reasons
    if bits == Clamp.INVALID:
        assert np.array_equal(result.sent, HOME)


def test_joint_names_are_reordered_or_refused():
    guard = make_guard()
    result = guard.check([0.6, 0.01, -2.0], None, HOME, DT, names=('jaw', 'elbow', 'wrist'))
    assert np.array_equal(result.sent, [0.01, -2.0, 0.6])
    for names in (('elbow', 'wrist', 'hand'), ('elbow', 'elbow', 'jaw'), ('elbow',)):
        result = guard.check([0.0, -2.0, 0.5], result.sent, None, DT, names=names)
        assert result.clamped == Clamp.INVALID and 'joint_names' in result.reasons[0]


def test_nothing_is_sent_before_the_robot_is_known():
    guard = make_guard()
    for measured in (None, np.full(3, np.nan), np.zeros(2)):
        result = guard.check(HOME, None, measured, DT)
        assert result.sent is None and 'no finite joint state' in result.reasons[0]
        assert guard.hold(None, measured, DT).sent is None


def test_a_far_request_is_reached_without_overshoot():
    results = sent(make_guard(), [np.array([1.5, -2.0, 0.5])] * 60)
    elbow = np.array([result.sent[0] for result in results])
    assert elbow.max() <= 1.5 + 1e-12 and elbow[-1] == 1.5
    assert results[-1].clamped == Clamp.NONE


def test_a_moving_request_is_caught_up_with_and_then_followed_exactly():
    requests = [np.array([0.5 + 0.02 * k, -2.0, 0.5]) for k in range(40)]
    results = sent(make_guard(), requests)
    lead = np.array([result.sent[0] - request[0] for request, result in zip(requests, results)])
    assert lead.max() <= 1e-12
    assert results[-1].clamped == Clamp.NONE and lead[-1] == 0.0


def test_hold_brakes_within_the_limits_and_then_stands():
    guard = make_guard()
    moving = sent(guard, [np.array([2.0, -2.0, 0.5])] * 8)[-1].sent
    held = [moving]
    for _ in range(10):
        held.append(guard.hold(held[-1], None, DT).sent)
    speeds = np.diff([position[0] for position in held]) / DT
    assert speeds[0] > 0.5 and (np.diff(speeds) >= -20.0 * DT - 1e-9).all()
    assert held[-1][0] == held[-2][0]


def test_a_measured_position_outside_the_box_starts_at_its_edge():
    result = make_guard().hold(None, np.array([2.01, -2.0, 0.5]), DT)
    assert np.array_equal(result.sent, [2.0, -2.0, 0.5])


@pytest.mark.parametrize('dt', [0.0, -0.04, float('nan'), 2.0])
def test_an_impossible_time_step_sends_nothing(dt):
    result = make_guard().check(HOME, None, HOME, dt)
    assert result.sent is None and 'dt' in result.reasons[0]


anything = st.floats(allow_nan=True, allow_infinity=True, width=64)
near = st.floats(-4.0, 4.0)
vector = st.lists(st.one_of(near, near, near, anything), min_size=3, max_size=3)
odd = st.one_of(st.lists(anything, max_size=5), st.just([]), st.none(), st.just(['x']))
event = st.one_of(
    st.tuples(st.just('check'), vector), st.tuples(st.just('check'), vector),
    st.tuples(st.just('check'), odd), st.tuples(st.just('hold'), st.none()),
    st.tuples(st.just('reset'), st.none()))


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(event, st.floats(0.001, 0.2)), max_size=60), vector)
def test_no_sequence_of_requests_leaves_the_limits(events, measured):
    guard, previous, speed = make_guard(), None, np.zeros(3)
    measured = np.array(measured)
    for (kind, request), dt in events:
        if kind == 'reset':
            guard.reset()
            previous, speed = None, np.zeros(3)
            continue
        result = (guard.hold(previous, measured, dt) if kind == 'hold'
                  else guard.check(request, previous, measured, dt))
        if result.sent is None:
            assert not np.isfinite(measured).all()
            continue
        assert np.isfinite(result.sent).all()
        assert (result.sent >= guard.lower).all() and (result.sent <= guard.upper).all()
        start = previous if previous is not None else np.clip(measured, guard.lower, guard.upper)
        velocity = (result.sent - start) / dt
        assert (np.abs(velocity) <= guard.velocity + 1e-9).all()
        assert (np.abs(velocity - speed) <= guard.acceleration * dt + 1e-9).all()
        previous, speed = result.sent, velocity


JERK = 60.0
SMOOTH = tuple(replace(joint, jerk=JERK) if joint.acceleration < 1e3 else joint
               for joint in JOINTS)


def smooth_guard():
    return CommandGuard(RobotSpec('r', 'm', SMOOTH, (), 25.0))


@settings(deadline=None)
@given(st.lists(event, max_size=60))
def test_with_a_jerk_limit_no_sequence_of_requests_exceeds_any_limit(events):
    guard, previous = smooth_guard(), HOME
    speed, push = np.zeros(3), np.zeros(3)
    for kind, request in events:
        if kind == 'reset':
            continue
        result = (guard.hold(previous, None, DT) if kind == 'hold'
                  else guard.check(request, previous, None, DT))
        velocity = (result.sent - previous) / DT
        acceleration = (velocity - speed) / DT
        assert (result.sent >= guard.lower).all() and (result.sent <= guard.upper).all()
        assert (np.abs(velocity) <= guard.velocity + 1e-9).all()
        assert (np.abs(acceleration) <= guard.acceleration + 1e-6).all()
        assert (np.abs(acceleration - push)[:2] / DT <= JERK + 1e-4).all()
        previous, speed, push = result.sent, velocity, acceleration


def test_a_jerk_limit_is_said_and_what_stands_is_sent_bit_for_bit():
    guard = smooth_guard()
    goal = np.array([0.02, -2.0, 0.5])
    results = sent(guard, [goal] * 40)
    assert results[0].clamped & Clamp.JERK and results[-1].clamped == Clamp.NONE
    assert np.array_equal(results[-1].sent, goal) and guard.at_rest

# SPDX-License-Identifier: Apache-2.0
"""A scripted pad drives the real teleoperation, arbiter and episode nodes over DDS."""

import math

import numpy as np
import pytest
from ros_fixtures import call, wait_for
from std_msgs.msg import String
from teleop_rig import MAPPING, PERIOD, rig, ROBOT

from lwd_core import topics
from lwd_core.ros_qos import publisher
from lwd_intervention.episode.state import Phase
from lwd_intervention.modes import Mode
from lwd_msgs.msg import EpisodeState, Intervention, Outcome, TeleopStatus
from lwd_msgs.srv import RequestMode

STARTED, ENDED = Intervention.STARTED, Intervention.ENDED
NEEDED = 2      # ticks a message may take through two processes: its own, and the one under way


@pytest.fixture(autouse=True)
def local(monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')


def drive(made):
    """Take over with the left deadman and move."""
    made.until(lambda: made.mode is Mode.HUMAN, 'left_shoulder', left_y=0.8, what='HUMAN')
    made.hold('left_shoulder', left_y=0.8, ticks=8)
    moved = made.positions(5)
    assert made.sources(5) == ['HUMAN'] * 5
    assert np.abs(np.diff(moved[:, :6], axis=0)).max() > 0.002, 'the arm does not move'
    assert np.array_equal(moved[:, 7:], np.tile(moved[0, 7:], (5, 1))), 'the other arm moves'


def still(made, ticks):
    sent = made.positions(ticks)
    return np.array_equal(sent, np.tile(sent[0], (ticks, 1)))


def ticks_to_hold(made, act, most):
    """Repeat `act` a tick until HOLD; return after how many executed ticks of HUMAN."""
    before = len(made.executed)
    for _ in range(most):
        made.step(act)
        if made.executed[-1][1] == 'HOLD':
            break
    return [source for _, source, _ in made.executed[before:]].count('HUMAN')


def frozen(made):
    return lambda: made.joy('left_shoulder', left_y=0.8)


LOSSES = {   # what the pad does each tick, ticks of HUMAN that may follow, words of the reason
    'released': (lambda made: made.joy, NEEDED, 'deadman released'),
    'silent': (lambda made: lambda: None, 4 + NEEDED, 'silent for'),
    'unplugged': (lambda made: lambda: made.joy(axes=[], buttons=[]), NEEDED, 'unplugged'),
    'nan': (lambda made: lambda: made.joy('left_shoulder', left_y=math.nan), NEEDED,
            'axis left_y is nan'),
    'old': (lambda made: lambda: made.joy('left_shoulder', left_y=0.8, age=5 * PERIOD), NEEDED,
            'messages come late'),
    'short': (lambda made: lambda: made.joy(axes=[0.8], buttons=[1]), NEEDED, 'needs 6 and 15'),
    'frozen': (frozen, 20 + NEEDED, 'no axis or button changed'),
}


def stamp_stands(made):
    stands = made.tick
    return lambda: made.joy('left_shoulder', left_y=0.8, age=made.tick - stands)


LOSSES['stamp stands'] = (stamp_stands, 4 + NEEDED, 'stamp stands still')


@pytest.mark.parametrize('loss', LOSSES)
def test_a_loss_stops_the_robot_and_only_a_handback_gives_it_to_the_policy(loss, tmp_path):
    make, most, words = LOSSES[loss]
    with rig(41, tmp_path, frozen_after=0.8) as made:
        drive(made)
        took = ticks_to_hold(made, make(made), most + 10)
        assert took <= most, f'{took} ticks were driven after the loss'
        assert made.mode is Mode.HOLD and words in made.modes[-1].reason
        # Whatever still comes, sound or not, with the deadman held: no motion, no driver.
        act = make(made)
        made.step()
        for _ in range(15):
            made.step(act if loss != 'released' else None)
        assert set(made.sources(15)) == {'HOLD'} and still(made, 15)
        made.until(lambda: made.status[-1].state == TeleopStatus.IDLE, what='a sound pad')
        assert made.mode is Mode.HOLD
        made.until(lambda: made.mode is Mode.HUMAN, 'left_shoulder', what='HUMAN, pressed anew')


def test_a_deadman_held_through_a_loss_does_not_drive_when_the_pad_is_back(tmp_path):
    with rig(42, tmp_path) as made:
        drive(made)
        ticks_to_hold(made, lambda: None, 20)
        made.hold('left_shoulder', left_y=0.8, ticks=20)
        assert made.mode is Mode.HOLD and set(made.sources(15)) == {'HOLD'} and still(made, 15)
        assert made.status[-1].state == TeleopStatus.LOST


def test_an_episode_from_start_to_label_by_the_buttons_alone(tmp_path):
    with rig(43, tmp_path, episode=True) as made:
        made.hold('start')
        made.until(lambda: made.episodes[-1].phase == EpisodeState.RUNNING, what='RUNNING')
        made.until(lambda: made.mode is Mode.HOLD and 'deadman' in made.modes[-1].reason,
                   what='waiting for the deadman')
        first = made.episodes[-1].episode_id
        drive(made)
        made.hold('left_shoulder', 'south', left_y=0.8)
        made.until(lambda: made.episodes[-1].phase == EpisodeState.IDLE, 'left_shoulder', 'south',
                   what='labelled')
        label = made.episodes[-1]
        assert (label.outcome.value, label.labelled_by) == (Outcome.SUCCESS, 'operator')
        assert made.mode is Mode.HOLD
        # Success and deadman stay down over the next start: neither means anything there.
        wait_for(lambda: made.node._episode[1] == Phase.IDLE, what='the boundary')
        made.hold('left_shoulder', 'south', ticks=2)
        made.hold('left_shoulder', 'south', 'start', ticks=2)
        made.until(lambda: made.episodes[-1].phase == EpisodeState.RUNNING, 'left_shoulder',
                   'south', what='RUNNING again')
        assert made.episodes[-1].episode_id != first
        before = len(made.executed)
        made.hold('left_shoulder', 'south', left_y=0.8, ticks=15)
        assert made.episodes[-1].phase == EpisodeState.RUNNING, 'labelled by a held button'
        assert 'HUMAN' not in [source for _, source, _ in made.executed[before:]]
        made.hold()
        made.hold('back')
        made.hold('back', 'west')
        made.until(lambda: made.episodes[-1].phase == EpisodeState.IDLE, what='discarded')
        assert made.episodes[-1].outcome.value == Outcome.DISCARDED


def test_takeover_from_a_policy_and_handback_by_button(tmp_path):
    with rig(44, tmp_path, episode=True, start_mode='policy') as made:
        wait_for(lambda: made.node._policy_ready, what='policy status')
        made.hold('start')
        made.until(lambda: made.mode is Mode.POLICY, what='POLICY')
        made.hold(ticks=5)
        drive(made)
        made.until(lambda: made.mode is Mode.POLICY, 'left_shoulder', 'north', what='handback')
        made.hold('left_shoulder', ticks=10)
        assert set(made.sources(8)) == {'POLICY'}, 'the held deadman took over again'
        start, end = made.interventions
        assert (start.source, start.operator_name) == ('joystick', 'operator')
        assert start.overruled_chunk == 5 and end.end_reason == 'handback'
        taken = next(k for k, (tick, source, _) in enumerate(made.executed) if source == 'HUMAN')
        jump = np.abs(made.executed[taken][2] - made.executed[taken - 1][2])
        # his first command stays; on a busy machine the second, at joystick speed, may come first
        assert jump.max() < 0.06, 'the takeover jerks'
        ticks = [tick for tick, _, _ in made.executed]
        assert ticks == sorted(set(ticks)), 'a tick answered twice'


def test_words_around_a_takeover_end_up_in_its_intervention(tmp_path):
    with rig(48, tmp_path, episode=True, start_mode='policy') as made:
        say = publisher(made, topics.TELEOP_REASON)
        wait_for(lambda: made.node._policy_ready and say.get_subscription_count() > 0,
                 what='discovery')
        made.hold('start')
        made.until(lambda: made.mode is Mode.POLICY, what='POLICY')

        def takeover():
            made.hold(ticks=2)
            drive(made)
            count = len(made.interventions)
            made.until(lambda: made.mode is Mode.POLICY, 'left_shoulder', 'north',
                       what='handback')
            wait_for(lambda: len(made.interventions) > count, what='the end')

        def said(at_least):
            made.until(lambda: len(made.interventions) >= at_least, what='the words')
            return [one.reason for one in made.interventions]
        say.publish(String(data='before the button'))
        made.hold(ticks=3)
        takeover()
        assert said(2) == ['before the button'] * 2
        made.hold(ticks=2)
        drive(made)
        made.hold('left_shoulder', 'back', left_y=0.1)              # as the mapping says it
        made.hold('left_shoulder', 'back', 'dpad_up', left_y=0.1, ticks=2)
        made.until(lambda: made.mode is Mode.POLICY, 'left_shoulder', 'north', what='handback')
        assert said(4)[2:] == ['takeover, left deadman', 'it missed the grasp']
        assert list(made.status[-1].selected) == [True, False], 'the chord selected an arm too'
        takeover()
        say.publish(String(data='after it'))
        assert said(7)[4:] == ['takeover, left deadman'] * 2 + ['after it']
        start, *ends = made.interventions[4:]
        assert [one.event for one in (start, *ends)] == [STARTED, ENDED, ENDED]
        assert ends[0].end_tick == ends[1].end_tick and len({one.id for one in ends}) == 1


def test_a_handback_that_is_refused_says_why_and_leaves_the_person_driving(tmp_path):
    with rig(49, tmp_path) as made:
        drive(made)
        client = made.create_client(RequestMode, 'arbiter/request_mode')
        answer = call(client, RequestMode.Request(mode=Mode.POLICY))
        assert not answer.accepted and 'start one (episode/start)' in answer.message
        made.hold('left_shoulder', 'north', left_y=0.8, ticks=6)
        assert made.mode is Mode.HUMAN and made.sources(5) == ['HUMAN'] * 5


def test_the_emergency_stop_works_without_a_deadman_and_start_releases_it(tmp_path):
    with rig(45, tmp_path) as made:
        drive(made)
        made.until(lambda: made.mode is Mode.ESTOP, 'left_shoulder', 'east', left_y=0.8,
                   what='ESTOP')
        made.hold(ticks=3)
        made.hold('left_shoulder', left_y=0.8, ticks=10)
        assert made.mode is Mode.ESTOP and still(made, 8)
        made.hold(ticks=2)
        made.until(lambda: made.mode is Mode.HOLD, 'start', what='released')


def test_the_status_says_what_slows_the_arm_down(tmp_path):
    with rig(46, tmp_path) as made:
        made.until(lambda: made.mode is Mode.HUMAN, 'left_shoulder', what='HUMAN')
        for _ in range(12):
            made.hold('left_shoulder', left_y=1.0, ticks=10)
        made.until(lambda: made.status[-1].limit_scale[0] < 0.1, 'left_shoulder', left_y=1.0,
                   what='the edge of the reach')
        status = made.status[-1]
        assert 'singular' in status.reason or 'reach' in status.reason
        assert list(status.arms) == ['left', 'right'] and list(status.deadman) == [True, False]
        assert status.frame == 'base' and list(status.selected) == [True, False]
        assert status.device == 'test pad'


def test_leader_arms_align_slowly_then_follow_and_their_silence_holds(tmp_path):
    with rig(47, tmp_path, source='leader', align='match', align_speed=0.5) as made:
        goal = np.array(ROBOT.home)
        goal[0] += 0.3

        def hand(*down):
            made.leader(goal)
            made.joy(*down)
        for _ in range(3):
            made.step(hand)
        wait_for(lambda: made.status[-1].state == TeleopStatus.IDLE, what='a sound leader')
        while made.mode is not Mode.HUMAN:
            made.step(lambda: hand('left_shoulder'))
        for _ in range(4):
            made.step(lambda: hand('left_shoulder'))
        assert made.status[-1].state == TeleopStatus.ALIGNING
        speed = np.diff(made.positions(4)[:, 0]).max() / (PERIOD / 1e9)
        assert 0.3 < speed <= 0.5 + 1e-6
        for _ in range(30):
            made.step(lambda: hand('left_shoulder'))
        assert made.executed[-1][2][0] == pytest.approx(goal[0], abs=1e-6)
        assert made.status[-1].state == TeleopStatus.DRIVING
        took = ticks_to_hold(made, lambda: made.joy('left_shoulder'), 20)
        assert took <= 4 + NEEDED and 'leader is silent' in made.modes[-1].reason


def test_the_pad_of_the_rig_has_the_layout_of_the_mapping():
    assert len(MAPPING.axes) == 6 and len(MAPPING.buttons) == 15

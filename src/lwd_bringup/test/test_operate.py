# SPDX-License-Identifier: Apache-2.0
"""The operator's view without a terminal, and the terminal app under Textual's pilot."""

import asyncio

import numpy as np
import pytest

from lwd_bringup.operate.app import OperateApp
from lwd_bringup.operate.shadow import Difference, differences
from lwd_bringup.operate.takeovers import draw, rows
from lwd_bringup.operate.view import ALARM, OK, OperatorView, WARN
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.ros_tick import to_stamp
from lwd_msgs.msg import (
    ActionChunk,
    ControlMode,
    EpisodeState,
    ExecutedAction,
    Intervention,
    Outcome,
    PolicyStatus,
    RecorderStatus,
    TeleopStatus,
)

S = 1_000_000_000
PERIOD = 40_000_000


class Watched:
    """A view and its wall clock."""

    def __init__(self):
        self.view, self.wall, self.epoch = OperatorView('arm1'), 100.0, 0

    def take(self, topic, message):
        self.view.take(topic, message, self.wall)

    def mode(self, mode, reason=''):
        self.epoch += 1
        self.take('control_mode', ControlMode(mode=mode, reason=reason, epoch=self.epoch))

    def episode(self, phase=EpisodeState.RUNNING, **fields):
        self.take('episode', EpisodeState(**{
            'episode_id': 'e1', 'task': 'place', 'instruction': 'place the can', 'phase': phase,
            'time_limit': 20.0, 'started': to_stamp(5 * S), **fields}))

    def executed(self, k, clamped=0, source=ExecutedAction.SOURCE_POLICY):
        message = ExecutedAction(source=source, clamped=clamped)
        message.header.stamp = to_stamp(5 * S + k * PERIOD)
        self.take('executed_action', message)

    def line(self, label):
        return next(line for line in self.view.lines(self.wall) if line.label == label)


def test_it_says_what_is_missing_before_anything_is_heard():
    watched = Watched()
    assert watched.view.mode == '?' and watched.line('mode').level == ALARM
    assert watched.line('policy').level == watched.line('recorder').level == WARN
    assert watched.line('deadman').text == 'no teleoperation source'


def test_time_left_runs_on_the_robots_time():
    watched = Watched()
    watched.episode()
    watched.executed(125)
    assert watched.view.time_left() == pytest.approx(15.0)
    assert watched.line('time left').text == '15 s of 20 s'
    watched.executed(300)
    assert watched.line('time left').level == WARN
    watched.episode(EpisodeState.LABELLING)
    assert watched.view.time_left() is None and watched.line('episode').level == WARN


def test_the_bell_rings_once_for_each_hold_and_estop():
    watched = Watched()
    watched.mode(ControlMode.HOLD, 'started')
    assert watched.view.bells == 0  # it stood before
    watched.mode(ControlMode.POLICY)
    watched.mode(ControlMode.HOLD, 'policy starved')
    assert watched.view.bells == 1
    watched.take('control_mode', ControlMode(mode=ControlMode.HOLD, epoch=watched.epoch))
    assert watched.view.bells == 1  # the same message again
    watched.mode(ControlMode.ESTOP, 'button')
    assert watched.view.bells == 2
    watched.mode(ControlMode.HOLD, 'released')
    watched.mode(ControlMode.HUMAN, 'takeover')
    watched.mode(ControlMode.HOLD, 'teleop lost')
    assert watched.view.bells == 4


def test_a_hold_is_an_alarm_only_while_an_episode_runs():
    watched = Watched()
    watched.mode(ControlMode.HOLD, 'episode ended')
    watched.episode(EpisodeState.IDLE)
    assert watched.line('mode').level == OK
    watched.episode()
    assert watched.line('mode').level == ALARM
    assert 'mode: HOLD  episode ended' in watched.view.alarms(watched.wall)


def test_a_second_writer_is_an_alarm_whoever_drives():
    watched = Watched()
    watched.mode(ControlMode.HOLD, 'second writer of command: /arm1/intruder')
    assert watched.line('mode').level == ALARM and 'intruder' in watched.line('mode').text


@pytest.mark.parametrize(('fields', 'level', 'words'), [
    ({'state': TeleopStatus.DRIVING}, OK, 'left HELD selected  right -'),
    ({'state': TeleopStatus.LOST, 'reason': 'unplugged'}, ALARM, 'unplugged'),
    ({'state': TeleopStatus.DRIVING, 'limit_scale': [0.4, 1.0]}, WARN, 'left follows 40%'),
])
def test_the_deadman_is_shown_per_arm(fields, level, words):
    watched = Watched()
    message = {'source': 'joystick', 'arms': ['left', 'right'], 'deadman': [True, False],
               'selected': [True, False], 'limit_scale': [1.0, 1.0], **fields}
    watched.take('teleop/status', TeleopStatus(**message))
    assert watched.line('deadman').level == level and words in watched.line('deadman').text
    watched.wall += 3.0
    assert watched.line('deadman').text == 'joystick is silent'
    assert watched.line('deadman').level == ALARM


def test_the_policy_line_names_checkpoint_what_waits_and_what_was_refused():
    watched = Watched()
    watched.take('policy/status', PolicyStatus(
        state=PolicyStatus.ACTING, checkpoint='c0ffee00c0ffee', checkpoint_step=300,
        pending_checkpoint='beef', rejected_checkpoint='bad0', rejected_reason='wrong robot'))
    text = watched.line('policy').text
    assert 'ACTING  c0ffee00c0ff step 300, next beef, refused bad0: wrong robot' in text
    watched.wall += 10.0
    assert watched.line('policy').level == ALARM


def test_clamps_are_counted_per_episode_and_fade():
    watched = Watched()
    watched.episode()
    for k in range(3):
        watched.executed(k, ExecutedAction.CLAMP_VELOCITY | ExecutedAction.CLAMP_POSITION)
    assert watched.line('clamps').text == 'position 3, velocity 3'
    assert watched.line('clamps').level == WARN
    watched.wall += 6.0
    assert watched.line('clamps').level == OK
    watched.episode(episode_id='e2')
    assert watched.line('clamps').text == 'none'


def test_a_recorder_fault_is_an_alarm_with_its_reason():
    watched = Watched()
    watched.take('recorder/status', RecorderStatus(state=RecorderStatus.FAULT, reason='disk full'))
    assert 'recorder: FAULT' in watched.view.alarms(watched.wall)[-1]
    assert 'disk full' in watched.view.alarms(watched.wall)[-1]


class FakeRobot:
    """Remember what was asked."""

    def __init__(self):
        self.asked = []

    def request(self, mode, said):
        self.asked.append(mode)
        said(f'POLICY to {mode}')

    def label(self, episode_id, outcome, said):
        self.asked.append((episode_id, outcome))
        said(episode_id)


def shown(app, name):
    return str(app.query_one(name).render())


def test_words_that_come_after_the_button_are_told_too():
    watched = Watched()
    watched.take('intervention', Intervention(id=3, operator_name='ann', reason='takeover'))
    watched.take('intervention', Intervention(id=3, event=Intervention.ENDED, reason='takeover'))
    watched.take('intervention', Intervention(id=3, event=Intervention.ENDED, reason='slips'))
    assert list(watched.view.happened) == ['takeover by ann: takeover', 'said why: slips']


def test_the_app_shows_the_view_rings_and_passes_keys_on():
    async def drive():
        watched, robot = Watched(), FakeRobot()
        watched.mode(ControlMode.POLICY, 'episode started')
        watched.episode()
        app = OperateApp(watched.view, robot, wall=lambda: watched.wall)
        rung = []
        app.bell = lambda: rung.append(True)
        async with app.run_test(size=(100, 30)) as pilot:
            assert 'POLICY' in shown(app, '#mode') and 'place the can' in shown(app, '#rows')
            watched.take('intervention', Intervention(operator_name='ann', reason='slips'))
            watched.mode(ControlMode.HOLD, 'policy starved')
            app.refresh_view()
            app.refresh_view()
            assert rung == [True] and 'policy starved' in shown(app, '#alarms')
            assert 'takeover by ann: slips' in shown(app, '#happened')
            await pilot.press('e', 'b', 's')
            watched.episode(EpisodeState.IDLE, outcome=Outcome(value=Outcome.SUCCESS))
            await pilot.press('f')  # held over the boundary: there is no episode to label
            app.refresh_view()
            assert robot.asked == ['ESTOP', 'POLICY', ('e1', 'success')]
            assert 'no episode to label' in shown(app, '#happened')
    asyncio.run(drive())


def test_a_screen_that_is_no_longer_fed_does_not_stay_up():
    async def drive():
        fed = [True]
        app = OperateApp(Watched().view, alive=lambda: fed[0])
        async with app.run_test():
            app.refresh_view()
            assert app.return_code is None
            fed[0] = False
            app.refresh_view()
            assert app.return_code == 1
    asyncio.run(drive())


def test_the_shadow_is_compared_tick_by_tick_with_what_the_person_did():
    def stamped(message, k):
        message.header.stamp = to_stamp(k * PERIOD)
        return message

    def executed(k, value, source=ExecutedAction.SOURCE_HUMAN):
        return 'executed_action', stamped(ExecutedAction(
            source=source, joint_names=['a', 'b'], sent=[value, 0.0]), k)

    def chunk(k, shadow):
        rows = np.array([[0.1 * row, 0.0] for row in range(4)], np.float32)
        return 'policy/chunk', stamped(ActionChunk(
            shadow=shadow, horizon=4, action_dim=2, joint_names=['a', 'b'],
            actions=rows.ravel().tolist()), k)

    found = differences([
        chunk(8, False), executed(9, 9.0), chunk(10, True), executed(10, 0.5), executed(12, 0.5),
        executed(13, 0.1, ExecutedAction.SOURCE_HOLD), executed(14, 0.5)], PERIOD)
    assert [one.stamp_ns // PERIOD for one in found] == [10, 12]
    assert [one.worst[0] for one in found] == ['a', 'a']
    assert [one.worst[1] for one in found] == pytest.approx([0.5, 0.3])


def test_takeovers_are_listed_with_what_the_policy_would_have_done():
    meta = EpisodeMeta('e1', 'arm1', 'd', 'place', 'place it', ended_ns=S, interventions=[{
        'id': 3, 'operator': 'ann', 'source': 'pad', 'reason': 'slips', 'end_reason': 'handback',
        'start_tick': 5, 'end_tick': 15, 'start_ns': 5 * PERIOD, 'end_ns': 15 * PERIOD}])
    found = [Difference(k * PERIOD, ('a', 'b'), np.array([0.1, -0.2 * (k - 5)]))
             for k in (5, 7, 20)]
    row, = rows(meta, found)
    assert '3: ticks 5 to 15, 0.4 s by ann with pad: slips; ended: handback' in row
    assert 'policy would differ: 0.250 on average, at most 0.400 at b, over 2 ticks' in row
    assert 'differ' not in next(iter(rows(meta, [])))


def test_the_difference_is_drawn(tmp_path):
    meta = EpisodeMeta('e1', 'arm1', 'd', 'place', 'place it', ended_ns=S)
    found = [Difference(k * PERIOD, ('a', 'b'), np.array([0.1, 0.2])) for k in range(3)]
    assert draw(found, meta, tmp_path / 'd.png').read_bytes().startswith(b'\x89PNG')

# SPDX-License-Identifier: Apache-2.0
"""The arbiter: who drives, and what is sent at each tick."""
from intervention_fixtures import Driven, HOME
import numpy as np
import pytest

from lwd_core.guard import Clamp
from lwd_intervention.modes import Mode


def test_hold_answers_every_tick_with_the_measured_position():
    driven = Driven()
    for k in range(3):
        driven.tick(k)
    assert driven.sources() == {0: 'HOLD', 1: 'HOLD', 2: 'HOLD'}
    assert all(np.array_equal(record.sent, HOME) for record in driven.executed())


def test_nothing_is_sent_while_the_robots_position_is_unknown():
    driven = Driven()
    driven.core._motion._anchor.measured = None
    assert driven.tick(0) == []


def test_the_policy_drives_from_the_first_open_tick_of_the_episode():
    driven = Driven(Mode.POLICY)
    for k in range(1, 4):
        driven.tick(k)
        driven.policy(k, index=k - 1)
    assert driven.sources() == {0: 'HOLD', 1: 'POLICY', 2: 'POLICY', 3: 'POLICY'}
    assert [r.tick for r in driven.executed()][1:] == [0, 1, 2]
    assert driven.executed()[-1].tag.index == 2


def test_a_command_ahead_of_its_clock_message_is_executed_and_the_tick_not_answered_again():
    driven = Driven(Mode.POLICY)
    driven.policy(1)
    driven.tick(1)
    assert driven.sources() == {0: 'HOLD', 1: 'POLICY'}
    assert len(driven.executed()) == 2


@pytest.mark.parametrize(('command', 'reason'), [
    (dict(k=5), 'policy: tick already answered'),
    (dict(k=4), 'policy: tick already answered'),
    (dict(k=6, epoch=0), 'policy: planned in another epoch'),
    (dict(k=9), 'policy: from the future'),
])
def test_a_command_at_the_wrong_time_is_refused_and_counted(command, reason):
    driven = Driven(Mode.POLICY)
    for k in range(1, 6):
        driven.tick(k)
        driven.policy(k)
    driven.tick(6)
    assert driven.policy(**command) == []
    assert driven.core.refused[reason] == 1


def test_a_command_older_than_two_periods_is_refused():
    driven = Driven(Mode.POLICY, max_gap_periods=10)
    driven.tick(1)
    driven.policy(1)
    driven.tick(6)  # the arbiter itself slept through four
    assert driven.policy(3) == []
    assert driven.core.refused['policy: older than two periods'] == 1
    assert driven.policy(4) != []


def test_a_tick_that_its_driver_let_pass_is_held_and_recorded():
    driven = Driven(Mode.POLICY)
    for k in range(1, 5):
        driven.tick(k)
        if k != 3:
            driven.policy(k, [0.5 + 0.05 * k, 0.5])
    assert driven.sources() == {0: 'HOLD', 1: 'POLICY', 2: 'POLICY', 3: 'HOLD', 4: 'POLICY'}
    held = driven.executed()[3]
    assert len(held.requested) == 0 and held.clamped == 0
    assert driven.policy(3) == [] and driven.core.refused['policy: tick already answered'] == 1


def test_emergency_stop_is_latched_until_released():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.request(Mode.ESTOP)
    assert driven.sources()[1] == 'HOLD'
    for mode in (Mode.POLICY, Mode.HUMAN):
        accepted, message = driven.request(mode)
        assert not accepted and 'requesting HOLD' in message
    driven.end_episode()
    driven.run_episode(id_='e2')
    assert driven.core.mode is Mode.ESTOP
    assert driven.request(Mode.HOLD) == (True, 'ESTOP to HOLD')
    assert driven.core.reason == 'emergency stop released'


def test_an_episode_already_running_at_the_start_of_the_arbiter_does_not_drive():
    driven = Driven()
    driven.core._episode = None
    driven.tick(0)
    driven.run_episode()
    assert driven.core.mode is Mode.HOLD
    assert driven.request(Mode.POLICY)[0]


def test_an_episode_waits_in_hold_for_a_policy_that_is_not_ready():
    driven = Driven(Mode.POLICY, policy_ready=False)
    assert driven.core.mode is Mode.HOLD
    driven.add(driven.core.on_policy_status(True, '', 'abc'))
    assert driven.core.mode is Mode.POLICY


def test_requested_and_sent_are_kept_apart():
    driven = Driven(Mode.POLICY)
    driven.policy(1, positions=[5.0, 0.5])
    record = driven.executed()[-1]
    assert list(record.requested) == [5.0, 0.5]
    assert record.sent[0] == pytest.approx(0.5 + 4.0 * 0.04)
    assert record.clamped == Clamp.POSITION | Clamp.VELOCITY
    assert driven.core.clamped == {'position': 1, 'velocity': 1}


def test_a_paced_hold_answers_when_asked():
    driven = Driven(hold_at_once=False)
    assert driven.tick(0) == []
    assert len(driven.add(driven.core.answer_open_tick())) == 1
    assert driven.add(driven.core.answer_open_tick()) == []


def test_a_robot_put_elsewhere_by_the_reset_is_held_there():
    driven = Driven()
    driven.tick(0)
    driven.add(driven.core.on_joints(np.array([-0.5, 0.5])))
    driven.tick(1)
    assert driven.executed()[-1].sent[0] == -0.5
    driven.add(driven.core.on_joints(np.array([-0.45, 0.5])))  # sag is no reason to follow
    driven.tick(2)
    assert driven.executed()[-1].sent[0] == -0.5


def test_modes_epochs_grow_with_every_transition():
    driven = Driven(Mode.POLICY)
    for mode in (Mode.HUMAN, Mode.POLICY, Mode.HOLD, Mode.ESTOP, Mode.HOLD):
        assert driven.request(mode)[0]
    changes = driven.changes()
    assert [change.epoch for change in changes] == list(range(1, len(changes) + 1))
    assert all(a.mode is b.previous for a, b in zip(changes, changes[1:]))


def test_an_action_planned_too_long_ago_is_not_executed():
    driven = Driven(Mode.POLICY, max_plan_age=0.2)
    for k in range(1, 8):
        driven.tick(k)
        driven.policy(k, index=k - 1)
    assert [k for k, source in driven.sources().items() if source == 'POLICY'] == [1, 2, 3, 4, 5, 6]
    assert driven.core.refused['policy: planned from an observation too old'] == 1

# SPDX-License-Identifier: Apache-2.0
"""What the arbiter watches: silence, loss, bad input, other writers, the clock."""
from intervention_fixtures import Driven, HOME, PERIOD, teleop
import numpy as np
import pytest

from lwd_core.guard import Clamp
from lwd_intervention.modes import Mode


def test_a_starved_policy_holds_and_comes_back_replanned():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.policy(1)
    for k in range(2, 5):
        driven.tick(k)
    assert driven.core.mode is Mode.HOLD and 'policy starved' in driven.core.reason
    epoch = driven.core.epoch
    driven.policy(5, epoch=epoch - 1)  # the late chunk: proof of life, but never executed
    assert driven.core.mode is Mode.POLICY and driven.core.epoch == epoch + 1
    assert 5 not in driven.sources()
    driven.tick(5)
    driven.policy(5)
    assert driven.sources()[5] == 'POLICY'


def test_a_starved_policy_comes_back_by_its_status_too():
    driven = Driven(Mode.POLICY)
    driven.core.answer_open_tick()
    driven.tick(1)
    for _ in range(3):
        driven.add(driven.core.answer_open_tick())
        driven.tick(driven.core._ticks.now // PERIOD + 1)
    assert driven.core.mode is Mode.HOLD
    driven.add(driven.core.on_policy_status(True, '', 'c0ffee'))
    assert driven.core.mode is Mode.POLICY


def test_starvation_stays_in_hold_if_so_configured():
    driven = Driven(Mode.POLICY, resume_after_starvation=False)
    driven.tick(1)
    driven.policy(1)
    for k in range(2, 5):
        driven.tick(k)
    driven.policy(5)
    assert driven.core.mode is Mode.HOLD


def test_the_first_command_after_a_change_has_longer():
    driven = Driven(Mode.POLICY, first_command_timeout=0.4)
    for k in range(1, 11):
        driven.tick(k)
        assert driven.core.mode is Mode.POLICY
    driven.tick(12)
    assert driven.core.mode is Mode.HOLD


def test_loss_of_the_person_holds_and_nothing_but_a_request_leads_back():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.request(Mode.HUMAN)
    driven.tick(2)
    driven.human(2)
    for k in range(3, 6):
        driven.tick(k)
    assert driven.core.mode is Mode.HOLD and 'teleop lost' in driven.core.reason
    assert 'teleop lost' in driven.takeovers()[-1].end_reason
    driven.human(6)
    driven.policy(6)
    driven.add(driven.core.on_policy_status(True, '', 'c0ffee'))
    driven.tick(6)
    assert driven.core.mode is Mode.HOLD and driven.sources()[6] == 'HOLD'
    assert driven.request(Mode.POLICY)[0]


def test_an_invalid_command_holds_its_tick_and_then_the_robot():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.policy(1)
    for k in range(2, 6):
        driven.tick(k)
        driven.policy(k, positions=[float('nan'), 0.5])
    held = [record for record in driven.executed() if record.clamped & Clamp.INVALID]
    assert held and all(np.array_equal(record.sent, HOME) for record in held)
    assert driven.core.mode is Mode.HOLD
    assert driven.core.reason == 'policy command invalid: positions: elbow is not finite'
    driven.policy(6)
    assert driven.core.mode is Mode.HOLD  # a broken policy is not a starved one


def test_a_clock_that_jumps_back_holds_and_starts_anew():
    driven = Driven(Mode.POLICY)
    for k in range(1, 5):
        driven.tick(k)
        driven.policy(k)
    driven.tick(1, reset=True)
    assert driven.core.mode is Mode.HOLD and driven.core.reason == 'clock jumped'
    assert driven.executed()[-1].stamp_ns == PERIOD
    driven.tick(2)
    assert driven.executed()[-1].stamp_ns == 2 * PERIOD


def test_a_silent_driver_in_lockstep_is_answered_for_and_then_dropped():
    driven = Driven(Mode.POLICY, hold_at_once=False)
    for k in range(1, 4):
        driven.tick(k)
        driven.add(driven.core.answer_open_tick())
    assert driven.sources() == dict.fromkeys(range(4), 'HOLD')
    assert driven.core.mode is Mode.HOLD and driven.core.reason == 'policy silent'


@pytest.mark.parametrize('start_mode', [Mode.POLICY, Mode.HUMAN])
def test_old_joint_states_hold_whoever_drives_and_only_the_policy_comes_back(start_mode):
    driven = Driven(start_mode, max_joint_age=0.1)
    driven.add(driven.core.on_joints(HOME, 0))
    for k in range(1, 4):
        driven.tick(k)
        driven.policy(k)
        driven.human(k)
    assert driven.core.mode is Mode.HOLD
    assert driven.core.reason == 'joint_states 0.12 s old, bound 0.10 s'
    driven.policy(4)
    assert driven.core.mode is Mode.HOLD
    driven.add(driven.core.on_joints(HOME, 4 * PERIOD))
    driven.tick(4)
    driven.policy(5)
    driven.human(5)
    assert driven.core.mode is (Mode.POLICY if start_mode is Mode.POLICY else Mode.HOLD)


def test_joint_states_that_are_not_finite_count_as_none():
    driven = Driven()
    driven.add(driven.core.on_joints(np.array([np.nan, 0.5]), PERIOD))
    driven.tick(0)
    assert np.array_equal(driven.executed()[-1].sent, HOME)
    assert driven.core.refused['joint_states: not finite'] == 1


@pytest.mark.parametrize('start_mode', [Mode.POLICY, Mode.HUMAN])
def test_a_second_writer_of_the_command_holds_and_nobody_drives_until_it_is_gone(start_mode):
    driven = Driven(start_mode)
    driven.tick(1)
    driven.add(driven.core.on_writers(('/arm1/intruder',)))
    assert driven.core.mode is Mode.HOLD
    assert driven.core.reason == 'second writer of command: /arm1/intruder'
    for mode in (Mode.POLICY, Mode.HUMAN):
        accepted, message = driven.request(mode)
        assert not accepted and '/arm1/intruder' in message and 'stop it' in message
    driven.end_episode()
    driven.run_episode(start_mode, 'e2')
    assert driven.core.mode is Mode.HOLD
    driven.add(driven.core.on_writers(()))
    assert driven.core.mode is Mode.HOLD  # never by itself
    assert driven.request(start_mode)[0]


def test_a_second_writer_may_be_only_reported():
    driven = Driven(Mode.POLICY, hold_on_second_writer=False)
    driven.add(driven.core.on_writers(('/arm1/intruder',)))
    assert driven.core.mode is Mode.POLICY and driven.core.other_writers == ('/arm1/intruder',)


@pytest.mark.parametrize(('reason', 'said'), [
    ('', 'deadman released'), ('unplugged', 'teleop lost: unplugged')])
def test_a_released_deadman_holds_at_once_and_for_good(reason, said):
    driven = Driven(Mode.POLICY)
    teleop(driven, 0, True)
    driven.tick(1)
    driven.request(Mode.HUMAN)
    driven.tick(2)
    driven.human(2)
    teleop(driven, 2, False, reason=reason)
    assert driven.core.mode is Mode.HOLD and driven.core.reason == said
    driven.tick(3)
    driven.human(3)
    driven.policy(3)
    teleop(driven, 3, True)
    assert driven.core.mode is Mode.HOLD and driven.sources()[3] == 'HOLD'


def test_commands_of_a_source_whose_deadman_is_released_are_not_executed():
    driven = Driven(Mode.HUMAN)
    driven.tick(1)
    teleop(driven, 1, False)  # before the first command: the person has the usual patience
    driven.human(1)
    assert driven.core.mode is Mode.HUMAN and 1 not in driven.sources()
    assert driven.core.refused['human: deadman released'] == 1
    teleop(driven, 1, True)
    driven.human(1)
    assert driven.sources()[1] == 'HUMAN'


def test_a_status_that_crosses_the_takeover_and_another_source_change_nothing():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.policy(1)
    driven.request(Mode.HUMAN, source='pad')  # from tick 2
    driven.tick(2)
    teleop(driven, 1, False)
    teleop(driven, 2, False, source='leader')
    driven.human(2)
    assert driven.core.mode is Mode.HUMAN and 2 not in driven.sources()
    teleop(driven, 2, True)
    driven.human(2)
    assert driven.core.mode is Mode.HUMAN and driven.sources()[2] == 'HUMAN'


def test_a_clock_that_is_set_right_does_not_bump_the_arm():
    driven = Driven(Mode.POLICY)
    for k in range(1, 6):
        driven.tick(k)
        driven.policy(k, [0.5 + 0.1 * k, 0.5])
    sent = driven.executed()[-1].sent[0]
    driven.add(driven.core.on_joints(np.array([sent - 0.15, 0.5])))  # the servo lags
    driven.tick(2, reset=True)
    for k in range(3, 6):
        driven.add(driven.core.on_joints(np.array([sent - 0.15 + 0.04 * (k - 2), 0.5])))
        driven.tick(k)
    steps = np.diff([record.sent[0] for record in driven.executed()])
    assert (np.abs(steps) <= 4.0 * 0.04 + 1e-9).all() and (steps >= -1e-9).all()

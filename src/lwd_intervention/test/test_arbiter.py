# SPDX-License-Identifier: Apache-2.0
from intervention_fixtures import Driven, HOME, PERIOD
import numpy as np
import pytest

from lwd_core.guard import Clamp
from lwd_intervention.arbiter import messages
from lwd_intervention.arbiter.records import Episode, Unclaimed
from lwd_intervention.arbiter.watch import Teleop
from lwd_intervention.modes import by_deadman, Mode, says_why
from lwd_msgs.msg import EpisodeState


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


def test_takeover_between_ticks_begins_at_the_next():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.policy(1, chunk=9)
    assert driven.request(Mode.HUMAN, reason='it drops the can')[0]
    driven.tick(2)
    driven.policy(2, epoch=1)
    driven.human(2)
    assert driven.sources() == {0: 'HOLD', 1: 'POLICY', 2: 'HUMAN'}
    start, = driven.takeovers()
    assert (start.start_tick, start.operator, start.source) == (1, 'ann', 'pad')
    assert (start.reason, start.overruled_chunk) == ('it drops the can', 9)
    assert (start.checkpoint, start.episode_id) == ('c0ffee', 'e1')


@pytest.mark.parametrize(('at', 'start', 'ends'), [
    (5, 'it slips', ['it slips']),                                            # before the button
    (10, 'takeover, left deadman', ['it slips']),                             # right after it
    (14, 'takeover, left deadman', ['it slips']),                             # while he drives
    (16, 'takeover, left deadman', ['takeover, left deadman', 'it slips']),   # just after
])
def test_words_around_the_button_are_those_of_the_takeover(at, start, ends):
    driven = Driven(Mode.POLICY)
    for k in range(1, 20):
        driven.tick(k)
        if k in (10, 15):
            driven.request(Mode.HUMAN if k == 10 else Mode.HOLD,
                           reason='takeover, left deadman' if k == 10 else 'deadman released')
        if k == at:
            driven.add(driven.core.on_words('  it\nslips '))
        driven.policy(k)
        driven.human(k)
    assert driven.takeovers()[0].reason == start
    assert next(one.reason for one in driven.changes() if one.mode is Mode.HUMAN) == start
    assert [one.reason for one in driven.takeovers()[1:]] == ends
    first, last = driven.takeovers()[1], driven.takeovers()[-1]
    assert (first.end_tick, first.stamp_ns, first.id) == (last.end_tick, last.stamp_ns, last.id)


def test_words_that_no_takeover_follows_in_time_belong_to_none():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.add(driven.core.on_words('it slips'))
    driven.tick(126)                                   # 5 s later: not yet
    assert Unclaimed('it slips') not in driven.out
    driven.tick(127)
    assert driven.out.count(Unclaimed('it slips')) == 1
    driven.request(Mode.HUMAN, reason='takeover, left deadman')
    assert driven.changes()[-1].reason == 'takeover, left deadman'


def test_words_do_not_cross_the_beginning_of_an_episode():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.request(Mode.HUMAN, reason='takeover, left deadman')
    driven.tick(2)
    driven.end_episode()
    driven.add(driven.core.on_words('it slipped'))     # still those of the takeover before
    assert driven.takeovers()[-1].reason == 'it slipped'
    driven.add(driven.core.on_words('look out'))
    driven.run_episode(id_='e2')
    assert Unclaimed('look out') in driven.out
    driven.request(Mode.HUMAN, reason='takeover, left deadman')
    assert driven.takeovers()[-1].reason == 'takeover, left deadman'


@pytest.mark.parametrize(('phases', 'claimed'), [
    ((EpisodeState.LABELLING,), True), ((EpisodeState.LABELLING, EpisodeState.IDLE), False)])
def test_words_after_the_label_closed_the_recording_belong_to_none(phases, claimed):
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.request(Mode.HUMAN, reason='takeover, left deadman')
    driven.tick(2)
    for phase in phases:
        state = EpisodeState(episode_id='e1', phase=phase)
        driven.add(driven.core.on_episode(messages.episode(state)))
    driven.add(driven.core.on_words('it slipped'))
    driven.tick(200)                                   # the 5 s are over
    reasons = [one.reason for one in driven.takeovers()]
    assert reasons == ['takeover, left deadman'] * 2 + ['it slipped'] * claimed
    assert driven.out.count(Unclaimed('it slipped')) == (not claimed)


@pytest.mark.parametrize('reason', [
    'takeover: the cup slips', 'takeover', 'takeover, left deadman'])
@pytest.mark.parametrize('words', ['takeover too late', 'it slips'])
def test_a_reason_may_begin_with_the_word_takeover(reason, words):
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.request(Mode.HUMAN, reason=reason)
    driven.add(driven.core.on_words(words))
    driven.add(driven.core.on_words('and again'))
    driven.request(Mode.HOLD)
    driven.add(driven.core.on_words('late'))           # it has its words: these are another's
    given = [reason] if reason == 'takeover: the cup slips' else []
    assert [one.reason for one in driven.takeovers()] == [
        reason, '; '.join([*given, words, 'and again'])]


def test_a_reason_of_the_request_alone_keeps_later_words_out():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.request(Mode.HUMAN, reason='takeover: the cup slips')
    driven.request(Mode.HOLD)
    driven.add(driven.core.on_words('late'))
    assert [one.reason for one in driven.takeovers()] == ['takeover: the cup slips'] * 2


def test_how_a_takeover_began_by_deadman_does_not_say_why():
    assert not says_why(by_deadman(['left'])) and not says_why(by_deadman(['left', 'right']))
    assert says_why('takeover, it slipped from the deadman')


def test_several_words_and_a_reason_given_with_the_request_are_all_kept():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.request(Mode.HUMAN, reason='wrong item')
    for words in ('it slips', 'it slips', 'and again'):
        driven.add(driven.core.on_words(words))
    driven.request(Mode.HOLD)
    driven.add(driven.core.on_words('late'))           # it has its words: these are another's
    assert [one.reason for one in driven.takeovers()] == [
        'wrong item', 'wrong item; it slips; and again']


@pytest.mark.parametrize(('waiting', 'source'), [(2, 'HUMAN'), (1, 'HOLD'), (None, 'HOLD')])
def test_a_tick_found_open_at_takeover_is_answered_at_once(waiting, source):
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.policy(1)
    driven.tick(2)
    if waiting is not None:
        driven.human(waiting)
    driven.request(Mode.HUMAN)
    assert driven.sources()[2] == source
    assert driven.core.open_tick is None
    driven.policy(2)
    driven.human(2)
    assert len(driven.executed()) == 3


def test_handback_leaves_the_open_tick_to_the_policy():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.request(Mode.HUMAN)
    driven.tick(2)
    driven.human(2)
    driven.tick(3)
    assert driven.request(Mode.POLICY)[0]
    assert driven.core.open_tick == 3 * PERIOD
    driven.human(3)
    driven.policy(3, epoch=driven.core.epoch - 1)
    driven.policy(3)
    assert driven.sources()[3] == 'POLICY'
    end = driven.takeovers()[-1]
    assert (end.end_reason, end.start_tick, end.end_tick) == ('handback', 0, 2)


@pytest.mark.parametrize(('episode', 'ready', 'words'), [
    (None, True, 'needs a running episode'), (Mode.HUMAN, False, 'not ready: loading')])
def test_handback_is_refused_with_a_reason(episode, ready, words):
    driven = Driven(episode, policy_ready=ready)
    accepted, message = driven.request(Mode.POLICY)
    assert not accepted and words in message
    assert driven.core.mode is not Mode.POLICY


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


def test_end_of_episode_holds_and_ends_the_takeover():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.request(Mode.HUMAN)
    driven.end_episode()
    assert driven.core.mode is Mode.HOLD
    assert [t.end_reason for t in driven.takeovers()] == [None, 'episode ended']


def test_shutdown_ends_the_takeover():
    driven = Driven(Mode.POLICY)
    driven.request(Mode.HUMAN)
    driven.add(driven.core.shutdown())
    assert [t.end_reason for t in driven.takeovers()] == [None, 'arbiter shut down']


def test_a_demonstration_is_no_takeover():
    driven = Driven(Mode.HUMAN)
    driven.tick(1)
    driven.human(1)
    assert driven.sources()[1] == 'HUMAN' and driven.takeovers() == []


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


def test_requested_and_sent_are_kept_apart():
    driven = Driven(Mode.POLICY)
    driven.policy(1, positions=[5.0, 0.5])
    record = driven.executed()[-1]
    assert list(record.requested) == [5.0, 0.5]
    assert record.sent[0] == pytest.approx(0.5 + 4.0 * 0.04)
    assert record.clamped == Clamp.POSITION | Clamp.VELOCITY
    assert driven.core.clamped == {'position': 1, 'velocity': 1}


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


def test_an_action_planned_from_an_observation_before_the_handback_is_not_executed():
    driven = Driven(Mode.POLICY)
    driven.tick(1)
    driven.request(Mode.HUMAN)
    driven.tick(2)
    driven.human(2)
    driven.request(Mode.POLICY)  # begins at tick 3
    driven.tick(3)
    assert driven.policy(3, index=1) == []  # observed at tick 2
    assert driven.core.refused['policy: planned from an observation before the mode change'] == 1
    driven.policy(3, index=0)
    driven.tick(4)
    driven.policy(4, index=1)
    assert driven.sources()[3] == driven.sources()[4] == 'POLICY'


def test_an_action_planned_too_long_ago_is_not_executed():
    driven = Driven(Mode.POLICY, max_plan_age=0.2)
    for k in range(1, 8):
        driven.tick(k)
        driven.policy(k, index=k - 1)
    assert [k for k, source in driven.sources().items() if source == 'POLICY'] == [1, 2, 3, 4, 5, 6]
    assert driven.core.refused['policy: planned from an observation too old'] == 1


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


@pytest.mark.parametrize(('start_mode', 'takeovers'), [(Mode.POLICY, 1), (Mode.HUMAN, 0)])
def test_an_episode_that_starts_while_a_person_drives_leaves_him_at_it(start_mode, takeovers):
    driven = Driven()
    driven.tick(0)
    driven.request(Mode.HUMAN, reason='tidying up')
    driven.tick(1)
    driven.human(1)
    driven.run_episode(start_mode)
    driven.tick(2)
    driven.policy(2)
    driven.human(2)
    assert driven.core.mode is Mode.HUMAN and driven.sources()[2] == 'HUMAN'
    assert len(driven.takeovers()) == takeovers
    assert all((one.start_tick, one.reason) == (0, 'tidying up') for one in driven.takeovers())
    assert driven.request(Mode.POLICY)[0]


def teleop(driven, k, held, source='pad', reason=''):
    driven.add(driven.core.on_teleop_status(source, Teleop(k * PERIOD, held, reason)))


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


def test_takeovers_after_a_restart_amid_an_episode_have_ids_and_ticks_of_their_own():
    # Time of day may have been set back (to tick 100 here): only the steady clock never is.
    driven = Driven(steady=lambda: 7.5)
    driven.core._episode = None
    driven.tick(100)
    driven.add(driven.core.on_episode(Episode('e1', True, started_ns=40 * PERIOD)))
    assert driven.core.mode is Mode.HOLD
    driven.request(Mode.HUMAN)
    driven.request(Mode.HOLD)
    driven.request(Mode.HUMAN)
    starts = [record for record in driven.takeovers() if record.end_reason is None]
    assert [start.start_tick for start in starts] == [61, 61]
    assert [start.id for start in starts] == [751, 752]


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


def test_on_wall_time_the_persons_waiting_command_answers_the_first_tick_at_once():
    driven = Driven(Mode.POLICY, start_at_tick=True)
    driven.tick(1)
    driven.human(1, [0.52, 0.5])
    driven.policy(1)
    driven.request(Mode.HUMAN)
    driven.tick(2)
    assert driven.sources()[2] == 'HUMAN' and driven.executed()[-1].sent[0] == 0.52
    assert driven.human(2) == []  # one command a tick
    driven.tick(3)
    assert 3 not in driven.sources()
    driven.human(3)
    assert driven.sources()[3] == 'HUMAN'


@pytest.mark.parametrize('case', ['old', 'released', 'lockstep'])
def test_a_command_that_is_not_the_persons_present_one_does_not_start_the_takeover(case):
    driven = Driven(Mode.POLICY, start_at_tick=case != 'lockstep')
    driven.human(0 if case == 'old' else 1)
    for k in (1, 2) if case == 'old' else (1,):
        driven.tick(k)
        driven.policy(k)
    driven.request(Mode.HUMAN)
    if case == 'released':
        teleop(driven, 2, False)
    driven.tick(3 if case == 'old' else 2)
    assert driven.executed()[-1].source.name == 'POLICY'

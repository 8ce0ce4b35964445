# SPDX-License-Identifier: Apache-2.0
"""Takeovers and handbacks: whose tick it is, what is noted, and the words that were said."""
from intervention_fixtures import Driven, PERIOD, teleop
import pytest

from lwd_intervention.arbiter import messages
from lwd_intervention.arbiter.records import Episode, Unclaimed
from lwd_intervention.modes import by_deadman, Mode, says_why
from lwd_msgs.msg import EpisodeState


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

# SPDX-License-Identifier: Apache-2.0
import pytest

from lwd_policy_node.checkpoints import Candidate, Checkpoints


def reply(digest, step=0):
    return dict(digest=digest, step=step, horizon=16, mode='state', cameras=[], image_size=[8, 6],
                backend='fake', warm_s=0.1)


def install(table, digest, step=0):
    """Take a candidate all the way to active."""
    assert table.want(Candidate(digest, step)) == ''
    assert table.next_load().digest == digest
    table.loaded(reply(digest, step))
    assert table.swap()


@pytest.fixture
def table():
    made = Checkpoints()
    install(made, 'one', 1)
    return made


def test_a_loaded_checkpoint_waits_until_it_is_swapped_in(table):
    table.want(Candidate('two', 2))
    table.next_load()
    table.loaded(reply('two', 2))
    assert table.active.digest == 'one' and table.pending.digest == 'two'
    assert table.swap()
    assert (table.active.digest, table.previous.digest, table.loads) == ('two', 'one', 2)
    assert not table.swap()


def test_the_active_one_by_a_faster_backend_does_not_disturb_another_load(table):
    table.want(Candidate('two', 2))
    table.next_load()
    table.loaded({**reply('one', 1), 'backend': 'fast', 'again': True})
    assert table.active.backend == 'fast' and table.loading.digest == 'two'
    table.loaded(reply('two', 2))
    assert table.loading is None and table.pending.digest == 'two'


def test_the_previous_one_by_a_faster_backend_is_not_asked_for_and_stays_previous(table):
    install(table, 'two', 2)
    table.want(Candidate('three', 3))
    table.next_load()
    table.loaded({**reply('one', 1), 'backend': 'fast', 'again': True})
    assert table.loading.digest == 'three' and not table.swap()
    assert table.previous.backend == 'fast' and table.take_drops() == []


def test_one_that_was_dropped_while_its_faster_backend_was_built_is_dropped_again(table):
    table.loaded({**reply('zero'), 'again': True})
    assert table.take_drops() == ['zero'] and not table.swap()


def test_of_two_at_once_the_newer_acts_and_the_other_is_dropped(table):
    table.want(Candidate('two', 2))
    table.next_load()
    table.want(Candidate('three', 3))
    assert table.next_load() is None  # one load at a time
    table.loaded(reply('two', 2))
    assert table.next_load().digest == 'three'
    table.loaded(reply('three', 3))
    table.swap()
    assert table.active.digest == 'three'
    assert table.take_drops() == ['two'] and table.take_drops() == []


def test_the_one_before_the_previous_is_dropped(table):
    install(table, 'two', 2)
    install(table, 'three', 3)
    assert table.take_drops() == ['one']
    assert table.previous.digest == 'two'


def test_a_refused_digest_is_not_tried_again_unless_a_person_asks(table):
    table.want(Candidate('bad', 2))
    table.next_load()
    table.refuse('bad', 'flipped bit')
    assert 'flipped bit' in table.want(Candidate('bad', 2))
    assert table.next_load() is None
    assert table.want(Candidate('bad', 2, forced=True)) == ''


@pytest.mark.parametrize('digest', ['one', 'two', 'three'])
def test_what_is_known_already_is_not_loaded_twice(table, digest):
    table.want(Candidate('two', 2))
    table.next_load()
    table.want(Candidate('three', 3))
    assert 'already' in table.want(Candidate(digest, 9))


def test_an_older_step_is_ignored_unless_a_person_asks(table):
    assert 'older' in table.want(Candidate('zero', 0))
    assert table.want(Candidate('zero', 0, forced=True)) == ''


def test_rollback_swaps_back_and_the_channel_does_not_bring_the_bad_one_again(table):
    assert 'no previous' in table.rollback()
    install(table, 'two', 2)
    assert table.rollback() == ''
    assert table.swap() and table.active.digest == 'one'
    assert 'rolled back' in table.want(Candidate('two', 2))
    assert table.take_drops() == []  # both are kept


def test_after_a_restart_the_active_one_is_loaded_first_then_what_was_under_way(table):
    table.want(Candidate('two', 2))
    table.next_load()
    table.restarted()
    assert table.next_load().digest == 'one'
    table.loaded(reply('one', 1))
    assert table.pending is None and table.active.digest == 'one'
    assert table.next_load().digest == 'two'


def test_after_a_restart_a_pending_one_is_loaded_again(table):
    table.want(Candidate('two', 2))
    table.next_load()
    table.loaded(reply('two', 2))
    table.restarted()
    assert [table.next_load().digest] == ['one']
    table.loaded(reply('one', 1))
    assert table.next_load().digest == 'two'


def test_a_restart_before_any_checkpoint_loads_what_was_wanted():
    table = Checkpoints()
    table.want(Candidate('one', 1))
    table.next_load()
    table.restarted()
    assert table.next_load().digest == 'one'

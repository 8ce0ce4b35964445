# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from lwd_core.chunking import Chunk, Synchronous

HORIZON, DIM = 16, 2


def chunk(tick, epoch=0, chunk_id=1, horizon=HORIZON):
    """Row i holds the tick it belongs to, so that any mix-up of rows shows."""
    rows = np.arange(tick, tick + horizon, dtype=np.float32)
    return Chunk(chunk_id, epoch, tick, np.stack([rows, np.full(horizon, chunk_id)], 1))


def run(scheduler, ticks, delay, epoch=0, start=0):
    """Drive a scheduler whose chunks take `delay` ticks; return the decisions by tick."""
    arrivals, decisions, ids = {}, [], 0
    for tick in range(start, start + ticks):
        if tick in arrivals:
            scheduler.receive(arrivals.pop(tick), tick)
        request = scheduler.request(tick)
        if request is not None:
            ids += 1
            planned = chunk(tick, request.epoch, ids)
            if delay == 0:
                scheduler.receive(planned, tick)
            else:
                arrivals[tick + delay] = planned
        decisions.append(scheduler.action(tick))
    return decisions


def executed(decisions):
    return [None if d.action is None else (d.chunk_id, d.index) for d in decisions]


def test_without_delay_every_chunk_is_executed_from_row_0_for_execute_steps():
    assert executed(run(Synchronous(8), 17, delay=0)) == (
        [(1, i) for i in range(8)] + [(2, i) for i in range(8)] + [(3, 0)])


def test_with_delay_the_switch_is_at_the_row_of_the_current_tick():
    decisions = executed(run(Synchronous(8, lookahead=3), 22, delay=3))
    assert decisions[:3] == [None] * 3
    assert decisions[3:11] == [(1, i) for i in range(3, 11)]
    assert decisions[11:19] == [(2, i) for i in range(3, 11)]


def test_lookahead_hides_the_delay_completely():
    decisions = run(Synchronous(8, lookahead=4), 100, delay=4)[4:]
    assert all(d.action is not None for d in decisions)


def test_without_overrun_a_late_chunk_leaves_ticks_without_action_and_says_why():
    decisions = run(Synchronous(8), 12, delay=2)
    assert [d.action is None for d in decisions] == [True] * 2 + [False] * 8 + [True] * 2
    assert 'first chunk' in decisions[0].reason
    assert 'not there yet' in decisions[10].reason


def test_with_overrun_a_late_chunk_is_bridged_by_the_rest_of_the_current_one():
    decisions = executed(run(Synchronous(8, overrun=True), 30, delay=3))
    assert None not in decisions[3:]
    assert decisions[13] == (1, 13)
    assert decisions[14] == (2, 3)


def test_overrun_ends_with_the_chunk_and_never_repeats_a_row():
    scheduler = Synchronous(8, overrun=True)
    scheduler.request(0)
    scheduler.receive(chunk(0), 0)
    assert scheduler.action(HORIZON - 1).index == HORIZON - 1
    assert scheduler.action(HORIZON).action is None
    assert scheduler.action(HORIZON + 5).action is None


def test_a_chunk_of_an_older_epoch_is_refused():
    scheduler = Synchronous(8)
    scheduler.request(0)
    scheduler.reset(1)
    receipt = scheduler.receive(chunk(0, epoch=0), 1)
    assert not receipt.accepted and 'epoch 0' in receipt.reason
    assert scheduler.action(1).action is None


def test_reset_drops_the_chunk_being_executed():
    scheduler = Synchronous(8)
    scheduler.request(0)
    scheduler.receive(chunk(0), 0)
    assert scheduler.action(1).action is not None
    scheduler.reset(1)
    assert scheduler.action(2).action is None
    assert scheduler.request(2).epoch == 1


def test_a_chunk_nobody_asked_for_is_refused():
    scheduler = Synchronous(8)
    assert not scheduler.receive(chunk(0), 0).accepted
    scheduler.request(3)
    assert not scheduler.receive(chunk(2), 3).accepted
    assert scheduler.receive(chunk(3), 3).accepted


def test_a_chunk_later_than_its_horizon_is_refused_and_asked_for_again():
    scheduler = Synchronous(8)
    scheduler.request(0)
    receipt = scheduler.receive(chunk(0), HORIZON)
    assert not receipt.accepted and 'late' in receipt.reason
    assert scheduler.request(HORIZON).tick == HORIZON


def test_when_within_a_tick_a_chunk_arrives_changes_nothing():
    def after(arrival):
        scheduler = Synchronous(8, lookahead=1)
        scheduler.request(0)
        scheduler.receive(chunk(0), 0)
        rows = []
        for tick in range(20):
            asked = scheduler.request(tick)
            rows.append(scheduler.action(tick).index)
            if asked:
                scheduler.receive(chunk(tick, chunk_id=2), tick + (arrival == 'next tick'))
        return rows
    assert after('same tick') == after('next tick')
    assert after('same tick')[7:10] == [7, 1, 2]


def test_only_one_request_at_a_time_and_a_withdrawn_one_is_repeated():
    scheduler = Synchronous(8)
    assert scheduler.request(0).tick == 0
    assert scheduler.request(1) is None and scheduler.pending == 0
    scheduler.withdraw(0)
    assert scheduler.request(2).tick == 2


def test_the_delay_is_measured_in_ticks():
    scheduler = Synchronous(8, overrun=True)
    scheduler.request(10)
    assert scheduler.receive(chunk(10), 14).delay == 4
    assert scheduler.delay == 4
    assert scheduler.action(14).index == 4


def test_a_chunk_shorter_than_execute_steps_is_executed_to_its_end():
    scheduler = Synchronous(8)
    scheduler.request(0)
    scheduler.receive(chunk(0, horizon=3), 0)
    assert scheduler.action(2).index == 2
    assert scheduler.action(3).action is None


@pytest.mark.parametrize(('steps', 'lookahead'), [(0, 0), (8, 8), (8, -1)])
def test_impossible_settings_are_refused_with_the_bound(steps, lookahead):
    with pytest.raises(ValueError, match='must be'):
        Synchronous(steps, lookahead)

# SPDX-License-Identifier: Apache-2.0
"""Blending and real-time chunking, and what holds for every scheduler whatever happens."""

from math import e, exp

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from lwd_core.chunking import Chunk, IN_FLIGHT, Synchronous
from lwd_core.chunks.config import Chunking, make_scheduler, SCHEDULERS
from lwd_core.chunks.overlapped import fade, Overlapped
from lwd_core.chunks.realtime import RealTime

HORIZON = 16


def chunk(tick, epoch=0, chunk_id=1, horizon=HORIZON):
    """Rows [tick they belong to, chunk id], so that any mix-up of rows shows."""
    rows = np.arange(tick, tick + horizon, dtype=np.float32)
    return Chunk(chunk_id, epoch, tick, np.stack([rows, np.full(horizon, chunk_id)], 1))


def run(scheduler, ticks, delay, first_delay=None):
    """Drive a scheduler whose chunks take `delay` ticks; return (decisions, requests) by tick."""
    arrivals, decisions, requests = {}, [], {}
    for tick in range(ticks):
        if tick in arrivals:
            scheduler.receive(arrivals.pop(tick), tick)
        request = scheduler.request(tick)
        if request is not None:
            requests[tick] = request
            planned = chunk(tick, request.epoch, len(requests))
            late = delay if first_delay is None or len(requests) > 1 else first_delay
            if late:
                arrivals[tick + late] = planned
            else:
                scheduler.receive(planned, tick)
        decisions.append(scheduler.action(tick))
    return decisions, requests


def ids(decisions):
    return [None if d.action is None else round(float(d.action[1]), 4) for d in decisions]


# -- overlapped: from one chunk to the next


def test_linear_blending_moves_from_the_old_chunk_to_the_new_in_equal_steps():
    scheduler = Overlapped(8, lookahead=2, overrun=True, blend='linear', blend_steps=3)
    decisions, _ = run(scheduler, 14, delay=2, first_delay=0)
    assert ids(decisions)[:12] == pytest.approx([1] * 8 + [1.25, 1.5, 1.75, 2])
    assert [d.action[0] for d in decisions] == pytest.approx(range(14))


def test_exponential_blending_weighs_the_old_chunk_by_the_rtc_weights():
    scheduler = Overlapped(8, lookahead=2, overrun=True, blend='exponential', blend_steps=3)
    decisions, _ = run(scheduler, 12, delay=2, first_delay=0)
    old = [c * (exp(c) - 1) / (e - 1) for c in (0.75, 0.5, 0.25)]
    assert ids(decisions)[8:12] == pytest.approx([2 - w for w in old] + [2], abs=1e-4)


@pytest.mark.parametrize('blend', ['linear', 'exponential'])
def test_a_fade_falls_and_reaches_neither_end(blend):
    weights = fade(5, blend)
    assert (np.diff(weights) < 0).all() and 0 < weights[-1] and weights[0] < 1


def test_blending_ends_where_the_old_chunk_has_no_rows_left():
    scheduler = Overlapped(8, lookahead=4, overrun=True, blend='linear', blend_steps=8)
    decisions, _ = run(scheduler, 16, delay=11, first_delay=0)
    # Asked for at 4, there at 15: one row of the old chunk is left to blend with.
    assert ids(decisions)[14:] == [1, 1.5]


# -- real-time chunking


def test_a_chunk_is_asked_for_every_execute_steps_and_continues_the_running_one():
    scheduler = RealTime(8, lookahead=3, overrun=True)
    decisions, requests = run(scheduler, 40, delay=3)
    assert list(requests) == [0, 8, 16, 24, 32]
    continuation = requests[8].continuation
    assert requests[0].continuation is None and requests[8].running == 1
    assert continuation.rows[:, 0].tolist() == list(range(8, 16)) and continuation.delay == 3
    assert all(d.action is not None for d in decisions[3:])
    assert ids(decisions)[9:13] == [1, 1, 2, 2]  # takes over at the tick it arrives


def test_the_expected_delay_is_the_largest_measured_of_late_in_ticks():
    scheduler = RealTime(5, lookahead=1, overrun=True)
    run(scheduler, 20, delay=4)
    assert scheduler.expected_delay == 4
    scheduler.reset(1)
    assert scheduler.expected_delay == 4  # a takeover does not make the machine faster
    for tick in range(100, 200, 10):
        scheduler.request(tick)
        scheduler.receive(chunk(tick, 1), tick + 2)
        scheduler.reset(1)
    assert scheduler.expected_delay == 2


def test_chunks_that_take_longer_than_execute_steps_follow_each_other_without_a_gap():
    decisions, requests = run(RealTime(4, lookahead=3, overrun=True), 80, delay=8)
    assert all(d.action is not None for d in decisions[8:])
    assert np.diff(list(requests)).tolist() == [8] * (len(requests) - 1)


def test_a_starved_robot_gets_no_action_and_the_reason():
    decisions, requests = run(RealTime(8, lookahead=3, overrun=True), 30, delay=12, first_delay=0)
    assert [t for t, d in enumerate(decisions) if d.action is None][:4] == [16, 17, 18, 19]
    assert decisions[16].reason == IN_FLIGHT
    assert requests[8].continuation is not None


def test_in_lockstep_the_switch_is_at_the_expected_delay_however_fast_inference_was():
    def played(delay):
        return ids(run(RealTime(8, lookahead=3), 40, delay=delay, first_delay=0)[0])
    assert played(0) == played(1) == played(3)
    assert played(1)[8:13] == [1, 1, 1, 2, 2]
    late, _ = run(RealTime(8, lookahead=3), 40, delay=5, first_delay=0)
    assert ids(late)[8:14] == [1, 1, 1, None, None, 2]


def test_synchronous_lockstep_too_does_not_depend_on_how_fast_inference_was():
    def played(delay):
        return ids(run(Synchronous(8, lookahead=3), 40, delay=delay, first_delay=0)[0])
    assert played(0) == played(1) == played(3)
    assert played(3)[:10] == [1] * 8 + [2] * 2


# -- all


@pytest.mark.parametrize('name', SCHEDULERS)
def test_every_scheduler_is_chosen_by_name_and_runs(name):
    chunking = Chunking(name, execute_steps=6, lookahead=2, overrun=True)
    decisions, requests = run(make_scheduler(chunking), 60, delay=2)
    assert all(d.action is not None for d in decisions[2:])
    kinds = {r.continuation.kind for r in requests.values() if r.continuation}
    assert kinds == ({chunking.continuation} if chunking.continuation else set())


def test_an_unknown_scheduler_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="'rtx'.*synchronous, overlapped, rtc, rtc_trained"):
        Chunking('rtx')


@pytest.mark.parametrize('make', [
    lambda: Overlapped(8, blend='cubic'), lambda: Overlapped(8, blend_steps=0),
    lambda: Chunking(max_weight=-1.0)])
def test_numbers_out_of_bounds_are_refused(make):
    with pytest.raises(ValueError, match='must be'):
        make()


EVENTS = st.lists(st.tuples(st.sampled_from(['tick', 'skip', 'arrive', 'mode', 'lose']),
                            st.integers(0, 3)), max_size=200)


@settings(max_examples=400, deadline=None)
@given(EVENTS, st.integers(1, 16), st.integers(0, 5), st.booleans(), st.sampled_from(SCHEDULERS))
def test_whatever_happens_an_action_belongs_to_its_tick_and_epoch_and_runs_once(
        events, steps, lookahead, overrun, name):
    scheduler = make_scheduler(Chunking(name, steps, min(lookahead, steps - 1), overrun))
    tick, epoch, mode_tick, flying, done = 0, 0, 0, [], []
    for kind, amount in events:
        if kind in ('tick', 'skip'):
            tick += 1 if kind == 'tick' else 1 + 7 * amount
            request = scheduler.request(tick)
            if request is not None:
                flying.append(chunk(tick, request.epoch, 1000 * request.epoch + len(flying) + 1))
                if request.continuation is not None:
                    assert request.continuation.rows[0, 0] == pytest.approx(tick)
            decision = scheduler.action(tick)
            if decision.action is not None:
                done.append(tick)
                assert decision.action[0] == pytest.approx(tick)
                assert decision.action[1] >= 1000 * epoch  # also what was blended in
                assert tick - decision.index >= mode_tick
        elif kind == 'arrive' and flying:
            scheduler.receive(flying.pop(amount % len(flying)), tick)
        elif kind == 'mode':
            epoch, mode_tick = epoch + 1, tick + 1
            tick += 1
            scheduler.reset(epoch)
        elif kind == 'lose':
            scheduler.withdraw(scheduler.pending)
    assert len(done) == len(set(done))

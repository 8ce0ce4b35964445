# SPDX-License-Identifier: Apache-2.0
"""Ticks and chunks: each tick is answered once, or starved with the reason."""

from loop_rig import HORIZON, PERIOD, Rig
import pytest

from lwd_core.chunks.realtime import RealTime
from lwd_policy_node.planning import chunk_seed


@pytest.fixture
def rig(robot):
    return Rig(robot)


def test_a_tick_waits_for_its_chunk_and_is_answered_when_it_comes(rig):
    rig.drive()
    rig.tick()
    assert rig.commands == [] and len(rig.asked) == 1
    rig.reply()
    assert rig.commands == [(10, 1, 1, 0)]
    rig.tick()
    assert rig.commands[-1] == (11, 1, 1, 1) and len(rig.asked) == 1


def test_a_tick_that_passes_unanswered_is_starved_and_its_row_never_executed(rig):
    rig.drive()
    rig.tick()
    rig.tick()
    assert rig.loop.starved_ticks == 1
    rig.reply()
    assert rig.commands == [(11, 1, 1, 1)]
    assert rig.chunks[0].delay == 1


def test_without_instruction_checkpoint_or_open_gate_nothing_is_planned(robot):
    for name, value in (('instruction', ''), ('digest', ''), ('gate_open', False)):
        rig = Rig(robot)
        setattr(rig.loop.situation, name, value)
        rig.drive()
        rig.tick()
        assert rig.asked == [] and rig.loop.starved_ticks == 0


def test_a_missing_sample_starves_with_the_source_as_reason_and_recovers(rig):
    rig.drive()
    rig.tick(samples=False)
    rig.tick()
    assert list(rig.loop.cadence.reasons) == ['joint_states: no sample yet at tick * s']
    rig.reply()
    assert rig.commands == [(11, 1, 1, 0)]


def test_a_failed_inference_is_asked_for_again_at_the_next_tick(rig):
    rig.drive()
    rig.tick()
    rig.loop.on_failed(1, 'out of memory')
    rig.tick()
    assert len(rig.asked) == 2
    assert rig.loop.cadence.reasons == {'out of memory': 1}


def test_a_lost_worker_is_asked_again(rig):
    rig.drive()
    rig.tick()
    assert rig.loop.waiting_for() == 0.0
    rig.now = 3.0
    assert rig.loop.waiting_for() == 3.0
    rig.loop.worker_lost('signal 9')
    rig.tick()
    assert len(rig.asked) == 2


def test_a_tick_waits_for_samples_that_arrive_after_it_but_not_longer_than_told(robot):
    rig = Rig(robot, join_wait=0.02)
    rig.drive()
    rig.samples(tick=9)
    rig.tick(samples=False)
    assert rig.asked == []
    rig.samples()
    assert rig.asked[0][1].sources == {'joint_states': 10 * PERIOD,
                                       'state_observation': 10 * PERIOD}
    rig.reply()
    for _ in range(8):
        rig.tick(samples=False)
    rig.tick(samples=False)
    rig.now += 0.019
    rig.loop.on_wait()
    rig.now += 0.002
    rig.loop.on_wait()
    assert len(rig.commands) == 1  # samples too old by then


def test_seeds_follow_from_episode_and_tick_only(rig):
    rig.drive()
    rig.tick()
    planned = rig.asked[0][0]
    assert planned.seed == chunk_seed('episode_1', planned.stamp_ns // PERIOD)
    seeds = {chunk_seed(e, c) for e in ('a', 'b') for c in range(50)}
    assert len(seeds) == 100 and all(0 <= seed < 2**63 for seed in seeds)


def test_on_a_robot_that_cannot_wait_the_chunk_goes_on_while_the_next_is_late(robot):
    rig = Rig(robot, overrun=True)
    rig.drive()
    rig.tick()
    rig.reply()
    for _ in range(12):
        rig.tick()
    assert [c[3] for c in rig.commands] == list(range(13))
    assert rig.loop.starved_ticks == 0


def test_the_command_goes_out_before_the_next_chunk_is_asked_for(robot):
    rig = Rig(robot, overrun=True, lookahead=2)
    order = []
    rig.infer, plan = lambda *a: (order.append('plan'), plan(*a)), rig.infer
    rig.command, send = lambda *a: (order.append('command'), send(*a)), rig.command
    rig.drive()
    rig.tick()
    rig.reply()
    for _ in range(6):
        rig.tick()
    assert order == ['plan'] + 7 * ['command'] + ['plan']


def test_a_chunk_that_runs_out_is_never_repeated(robot):
    rig = Rig(robot, overrun=True)
    rig.drive()
    rig.tick()
    rig.reply()
    for _ in range(HORIZON + 4):
        rig.tick()
    assert [c[3] for c in rig.commands] == list(range(HORIZON))
    assert rig.loop.starved_ticks == 4
    assert 'chunk used up, the next one is not there yet' in rig.loop.cadence.reasons


def test_real_time_chunking_asks_with_what_is_still_to_be_executed(robot):
    rig = Rig(robot)
    rig.loop.scheduler = RealTime(8, lookahead=3, overrun=True)
    rig.drive()
    rig.tick()
    rig.reply()
    for _ in range(8):
        rig.tick()
    planned, _ = rig.asked[-1]
    assert (planned.running, len(planned.continuation.rows)) == (1, HORIZON - 8)
    assert planned.note == 'continues=1 rows=8 delay=3 max_weight=0 guided'

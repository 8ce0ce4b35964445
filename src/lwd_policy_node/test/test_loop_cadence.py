# SPDX-License-Identifier: Apache-2.0
"""What the loop counts and reports."""

from loop_rig import PERIOD, Rig
import pytest

from lwd_policy_node.cadence import Cadence


@pytest.fixture
def rig(robot):
    return Rig(robot)


def test_a_command_later_than_half_a_period_is_counted_late(rig):
    rig.drive()
    rig.tick()
    rig.reply(seconds=0.021)
    assert rig.loop.late_ticks == 1
    rig.tick()
    assert rig.loop.late_ticks == 1


def test_a_late_tick_that_waited_for_its_chunk_is_told_from_one_that_had_its_row(robot):
    clock = [0]
    rig = Rig(robot, now_ns=lambda: clock[0])
    rig.drive()
    rig.tick()
    clock[0] = rig.tick_number * PERIOD + 21_000_000
    rig.reply()
    assert '1 late (1 waited for a chunk)' in rig.loop.cadence.report('episode_1')
    clock[0] = (rig.tick_number + 1) * PERIOD + 21_000_000  # woken late
    rig.tick()
    assert '2 late (1 waited for a chunk)' in rig.loop.cadence.report('episode_1')
    total = Cadence()
    for _ in range(2):
        total.absorb(rig.loop.cadence)
    assert (total.late, total.waited) == (4, 2)


def test_a_simulation_that_waits_makes_nothing_late_and_one_that_steps_on_does(robot):
    simulated = [0]
    rig = Rig(robot, now_ns=lambda: simulated[0])
    rig.drive()
    rig.tick()
    simulated[0] = rig.tick_number * PERIOD
    rig.reply(seconds=0.5)
    assert rig.loop.late_ticks == 0 and len(rig.commands) == 1
    simulated[0] = (rig.tick_number + 2) * PERIOD  # one period past the next tick
    rig.tick()
    assert rig.loop.late_ticks == 1 and len(rig.commands) == 2


def test_the_time_on_the_way_to_a_remote_policy_is_reported_apart_from_its_own(rig):
    rig.drive()
    rig.tick()
    rig.reply(0.01, {'encode': 0.001, 'network': 0.006, 'sample': 0.003})
    cadence = rig.loop.cadence
    assert [cadence.quantile(name, 50) for name in ('encode', 'network', 'sample')] == [
        0.001, 0.006, 0.003]
    assert 'network' in cadence.report('episode_1')


def test_a_tick_handed_over_late_is_not_the_policys_lateness(robot):
    clock = [0]
    rig = Rig(robot, now_ns=lambda: clock[0])
    rig.tick()
    clock[0] = rig.tick_number * PERIOD + 25_000_000  # the mode change came 25 ms into the tick
    rig.drive(tick=rig.tick_number)
    clock[0] += 5_000_000
    rig.reply()
    assert len(rig.commands) == 1 and rig.loop.late_ticks == 0
    clock[0] = (rig.tick_number + 1) * PERIOD + 25_000_000
    rig.tick()
    assert len(rig.commands) == 2 and rig.loop.late_ticks == 1


def test_missed_ticks_are_reported_with_the_episode(rig):
    rig.drive()
    rig.tick()
    rig.reply()
    rig.tick(missed=3)
    text = rig.loop.cadence.report('episode_1')
    assert '3 missed' in text and 'episode_1' in text and 'latency' in text


def test_why_a_tick_was_starved_is_said_until_one_is_answered(rig):
    rig.drive()
    rig.tick()
    rig.tick()
    assert rig.loop.starving == 'waiting for the first chunk'
    rig.reply()
    assert rig.loop.starving == ''


def test_the_rate_leaves_out_the_time_a_person_drove(rig):
    rig.drive()
    for _ in range(5):
        rig.tick()
        rig.now += 0.04
    rig.loop.set_mode(False, True, 2, (rig.tick_number + 1) * PERIOD)
    for _ in range(100):
        rig.tick()
        rig.now += 0.04
    rig.drive(epoch=3)
    for _ in range(5):
        rig.tick()
        rig.now += 0.04
    cadence = rig.loop.cadence
    assert cadence.ticks == 10 and cadence.seconds == pytest.approx(8 * 0.04)
    assert cadence.rate == pytest.approx(25.0) == cadence.wall_rate

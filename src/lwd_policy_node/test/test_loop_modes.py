# SPDX-License-Identifier: Apache-2.0
"""Who drives: nothing seen or planned before a change of mode or scene acts after it."""

from loop_rig import PERIOD, Rig
import pytest


@pytest.fixture
def rig(robot):
    return Rig(robot)


def test_a_chunk_planned_before_a_takeover_is_dropped(rig):
    rig.drive(epoch=1)
    rig.tick()
    rig.loop.set_mode(False, True, 2, 11 * PERIOD)
    rig.drive(epoch=3, tick=11)
    rig.reply()
    assert rig.commands == []
    rig.tick()
    assert rig.asked[-1][0].epoch == 3
    rig.reply()
    assert rig.commands == [(11, 3, 2, 0)]


def test_handing_over_at_an_open_tick_answers_that_tick(rig):
    rig.tick()
    rig.drive(tick=10)
    rig.reply()
    assert rig.commands == [(10, 1, 1, 0)]


def test_handing_over_from_the_next_tick_on_plans_nothing_for_this_one(rig):
    rig.tick()
    rig.drive(tick=11)
    assert rig.asked == []


def test_a_tick_before_the_mode_change_is_not_ours_however_late_its_clock_comes(rig):
    rig.drive(tick=11)
    rig.tick()
    assert rig.asked == [] and rig.loop.ticks == 0
    rig.tick()
    assert rig.loop.starved_ticks == 0 and rig.asked[0][0].index == 11


def test_the_tick_that_was_open_while_the_scene_was_reset_is_not_answered_from_the_old_scene(rig):
    rig.tick()
    rig.loop.scene_was_reset()
    rig.drive(tick=10)  # the arbiter hands the open tick over
    assert rig.asked == []
    rig.tick()
    assert rig.asked[0][0].index == 11 and rig.loop.starved_ticks == 0


def test_a_clock_jump_forgets_samples_and_chunks(rig):
    rig.drive()
    rig.tick()
    rig.reply()
    rig.loop.clock_jumped()
    rig.tick_number = 2
    rig.loop.set_mode(True, False, 2, 3 * PERIOD)
    rig.tick()
    rig.reply()
    assert rig.commands[-1] == (3, 2, 2, 0)


def test_shadow_chunks_are_planned_while_a_person_drives_and_never_executed(robot):
    rig = Rig(robot, shadow=True)
    rig.loop.set_mode(False, True, 1, 0)
    rig.tick()
    rig.reply()
    assert rig.chunks[0].planned.shadow and rig.commands == []


def test_samples_from_before_the_mode_change_plan_nothing_though_they_are_young_enough(rig):
    rig.samples(tick=9)  # one period old at tick 10: well within the bound of 0.1 s
    rig.drive(tick=10)
    rig.tick(samples=False)
    assert rig.asked == []
    rig.tick()
    assert rig.asked[0][0].index == 11
    (reason,) = rig.loop.cadence.reasons
    assert reason.startswith('joint_states') and 'before the change of mode' in reason


def test_the_first_tick_after_a_handover_is_answered_when_its_samples_come_after_it(rig):
    rig.samples(tick=9)
    rig.drive(tick=10)
    rig.tick(samples=False)
    assert rig.asked == []
    stamp = 10 * PERIOD
    rig.loop.assembler.add_joints(stamp, rig.robot.joint_names, [0.1, 0.2, 0.3])
    rig.loop.on_sample()
    assert rig.asked == []  # the state is still of the time before the handover
    rig.samples()
    rig.samples()
    assert [planned.index for planned, _ in rig.asked] == [10]
    rig.reply()
    rig.tick()
    assert [command[0] for command in rig.commands] == [10, 11]
    assert rig.loop.starved_ticks == 0


def test_samples_that_come_after_the_scene_was_reset_do_not_answer_the_tick_before(rig):
    rig.drive(tick=10)
    rig.tick(samples=False)
    rig.loop.scene_was_reset()
    rig.samples()
    assert rig.asked == []


def test_a_shadow_chunk_waits_for_its_samples_and_needs_an_instruction(robot):
    rig = Rig(robot, shadow=True, join_wait=0.02)
    rig.samples(tick=9)
    rig.loop.set_mode(False, True, 1, 10 * PERIOD)
    rig.tick(samples=False)
    assert rig.asked == []
    rig.samples()
    assert rig.asked[0][0].shadow and rig.asked[0][0].index == 10
    rig.reply()
    rig.loop.situation.instruction = ''
    for _ in range(10):
        rig.tick()
    assert len(rig.asked) == 1


def test_shadow_chunks_go_on_through_a_takeover_and_count_nothing(robot):
    rig = Rig(robot, shadow=True)
    rig.loop.set_mode(False, True, 1, 0)
    for _ in range(20):
        rig.tick()
        if rig.loop.scheduler.pending is not None:
            rig.reply()
    assert [c.planned.index for c in rig.chunks] == [10, 18, 26]
    assert rig.loop.ticks == rig.loop.starved_ticks == rig.loop.cadence.chunks == 0
    rig.drive(epoch=2)
    rig.tick()
    assert rig.commands == [] and not rig.asked[-1][0].shadow

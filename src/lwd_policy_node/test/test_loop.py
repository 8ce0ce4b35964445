# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from lwd_core.chunking import Synchronous
from lwd_core.chunks.realtime import RealTime
from lwd_core.observation import ObservationAssembler, ObservationSpec
from lwd_policy_node.loop import ControlLoop
from lwd_policy_node.planning import chunk_seed

PERIOD = 40_000_000
HORIZON = 16


class Rig:
    """A loop with a clock and a worker that the test plays."""

    def __init__(self, robot, overrun=False, lookahead=0, **kwargs):
        self.now, self.asked, self.commands, self.chunks = 0.0, [], [], []
        self.loop = ControlLoop(PERIOD, Synchronous(8, lookahead, overrun), self,
                                wall=lambda: self.now, **kwargs)
        self.loop.set_assembler(ObservationAssembler(ObservationSpec.for_robot(robot, 'state')))
        self.loop.awaited = ('joint_states', 'state_observation')
        self.robot, self.tick_number = robot, 9
        situation = self.loop.situation
        situation.gate_open, situation.digest = True, 'abc'
        situation.instruction, situation.episode_id = 'do it', 'episode_1'

    def infer(self, planned, observation):
        self.asked.append((planned, observation))

    def command(self, stamp_ns, epoch, decision):
        self.commands.append((stamp_ns // PERIOD, epoch, decision.chunk_id, decision.index))

    def chunk(self, report):
        self.chunks.append(report)

    def drive(self, epoch=1, tick=None):
        self.loop.set_mode(True, False, epoch, (tick or self.tick_number + 1) * PERIOD)

    def samples(self, tick=None):
        stamp = (tick or self.tick_number) * PERIOD
        self.loop.assembler.add_joints(stamp, self.robot.joint_names, [0.1, 0.2, 0.3])
        self.loop.assembler.add_state(stamp, ('x', 'y'), [1.0, 2.0])
        self.loop.on_sample()

    def tick(self, samples=True, missed=0):
        self.tick_number += 1 + missed
        if samples:
            self.samples()
        self.loop.on_tick(self.tick_number * PERIOD, missed)

    def reply(self, seconds=0.0, sections=None):
        self.now += seconds
        planned, _ = self.asked[-1]
        self.loop.on_chunk(planned.chunk_id, np.zeros((HORIZON, 3), np.float32), seconds, sections)


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


def test_a_command_later_than_half_a_period_is_counted_late(rig):
    rig.drive()
    rig.tick()
    rig.reply(seconds=0.021)
    assert rig.loop.late_ticks == 1
    rig.tick()
    assert rig.loop.late_ticks == 1


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


def test_on_a_robot_that_cannot_wait_the_chunk_goes_on_while_the_next_is_late(robot):
    rig = Rig(robot, overrun=True)
    rig.drive()
    rig.tick()
    rig.reply()
    for _ in range(12):
        rig.tick()
    assert [c[3] for c in rig.commands] == list(range(13))
    assert rig.loop.starved_ticks == 0


def test_shadow_chunks_are_planned_while_a_person_drives_and_never_executed(robot):
    rig = Rig(robot, shadow=True)
    rig.loop.set_mode(False, True, 1, 0)
    rig.tick()
    rig.reply()
    assert rig.chunks[0].planned.shadow and rig.commands == []


def test_missed_ticks_are_reported_with_the_episode(rig):
    rig.drive()
    rig.tick()
    rig.reply()
    rig.tick(missed=3)
    text = rig.loop.cadence.report('episode_1')
    assert '3 missed' in text and 'episode_1' in text and 'latency' in text


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


def test_samples_from_before_the_mode_change_plan_nothing_though_they_are_young_enough(rig):
    rig.samples(tick=9)  # one period old at tick 10: well within the bound of 0.1 s
    rig.drive(tick=10)
    rig.tick(samples=False)
    assert rig.asked == []
    rig.tick()
    assert rig.asked[0][0].index == 11
    (reason,) = rig.loop.cadence.reasons
    assert reason.startswith('joint_states') and 'before the change of mode' in reason


def test_why_a_tick_was_starved_is_said_until_one_is_answered(rig):
    rig.drive()
    rig.tick()
    rig.tick()
    assert rig.loop.starving == 'waiting for the first chunk'
    rig.reply()
    assert rig.loop.starving == ''


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

# SPDX-License-Identifier: Apache-2.0
"""Ten minutes of control at every rate: each tick gets the row that was planned for it."""

import math

import numpy as np
import pytest

from lwd_core.chunks.config import Chunking, make_scheduler
from lwd_core.clock import NS_PER_S, period_ns
from lwd_core.observation import ObservationAssembler, ObservationSpec
from lwd_policy_node.loop import ControlLoop

LATENCY_NS = 95_000_000
HORIZON = 32
EXECUTED = 8  # ticks of a chunk before the next one
START_S = 1_790_000_000


class Robot:
    """A loop on wall time whose chunks come `LATENCY_NS` after they were asked for."""

    def __init__(self, robot, rate, scheduler):
        self.spec, self.period, self.now = robot, period_ns(rate), START_S * NS_PER_S
        self.due, self.commands, self.delays, self.planned_at = None, [], [], {}
        chunking = Chunking(scheduler, EXECUTED, 1, overrun=True)
        self.loop = ControlLoop(self.period, make_scheduler(chunking), self,
                                wall=lambda: self.now / NS_PER_S, now_ns=lambda: self.now)
        self.loop.set_assembler(ObservationAssembler(ObservationSpec.for_robot(robot, 'state')))
        situation = self.loop.situation
        situation.gate_open, situation.digest = True, 'abc'
        situation.instruction, situation.episode_id = 'do it', 'episode_1'

    def infer(self, planned, observation):
        self.due = (self.now + LATENCY_NS, planned)

    def command(self, stamp_ns, epoch, decision):
        self.commands.append((stamp_ns // self.period, decision.chunk_id, decision.index))

    def chunk(self, report):
        self.delays.append(report.delay)

    def run(self, seconds):
        """Play the ticks of so many seconds, and the chunks between them."""
        first = self.now // self.period + 1
        self.loop.set_mode(True, False, 1, first * self.period)
        for tick in range(first, first + round(seconds * NS_PER_S / self.period)):
            self._chunk_before(tick * self.period)
            self.now = tick * self.period
            self.loop.assembler.add_joints(self.now, self.spec.joint_names, [0.1, 0.2, 0.3])
            self.loop.assembler.add_state(self.now, ('x', 'y'), [1.0, 2.0])
            self.loop.on_sample()
            self.loop.on_tick(self.now)

    def _chunk_before(self, stamp_ns):
        if self.due is not None and self.due[0] < stamp_ns:
            self.now, planned = self.due
            self.due = None
            self.planned_at[planned.chunk_id] = planned.index
            self.loop.on_chunk(planned.chunk_id, np.zeros((HORIZON, 3), np.float32), 0.09)


@pytest.mark.parametrize('rate', [25.0, 30.0, 50.0, 100.0])
@pytest.mark.parametrize('scheduler', ['synchronous', 'rtc'])
def test_ten_minutes_at_any_rate(robot, rate, scheduler):
    played = Robot(robot, rate, scheduler)
    played.run(600)
    delay = math.ceil(LATENCY_NS / NS_PER_S * rate)
    ticks = [tick for tick, _, _ in played.commands]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
    assert len(ticks) == played.loop.ticks - played.loop.starved_ticks
    assert played.loop.starved_ticks < delay  # until the first chunk is there
    # Row i of a chunk planned at tick t is the action of tick t + i.
    assert all(played.planned_at[chunk] + index == tick for tick, chunk, index in played.commands)
    # Where a chunk takes longer than it is executed, the next one is asked for amid a tick.
    assert delay in played.delays[1:]
    assert set(played.delays[1:]) <= {delay, delay + (delay > EXECUTED)}
    if scheduler == 'rtc':
        assert played.loop.scheduler.expected_delay == max(played.delays[-10:])
    assert played.loop.cadence.rate == pytest.approx(rate, rel=1e-6)
    assert played.loop.late_ticks <= 1  # the first one

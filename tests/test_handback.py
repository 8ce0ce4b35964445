# SPDX-License-Identifier: Apache-2.0
"""Handback, arbiter and policy loop together on a clock of their own: bumpless, and never stale."""

import numpy as np
import pytest

from lwd_core.chunking import Synchronous
from lwd_core.clock import Tick
from lwd_core.observation import ObservationAssembler, ObservationSpec
from lwd_core.robot import JointSpec, RobotSpec
from lwd_core.topics import CommandTag
from lwd_intervention.arbiter.core import Arbiter
from lwd_intervention.arbiter.records import ArbiterConfig, Episode, Executed, ModeChange, Request
from lwd_intervention.modes import Mode, Source
from lwd_policy_node.loop import ControlLoop

PERIOD, HORIZON = 40_000_000, 16
ROBOT = RobotSpec('r', 'slow to brake', tuple(
    JointSpec(name, -2.0, 2.0, 1.5, 6.0) for name in ('a', 'b')), (), 25.0, state_names=('x',))
STEP, CHANGE = 1.5 * 0.04 + 1e-9, 6.0 * 0.04 ** 2 + 1e-9


class Both:
    """Deliver what one says to the other; the policy wants to `goal`, `delay` ticks late."""

    def __init__(self, delay):
        self.delay, self.now, self.position = delay, 0, np.zeros(2)
        self.goal, self.executed, self.asked = np.array([1.0, -1.0]), [], []
        self.observed = {}  # chunk id -> tick of its observation
        self.arbiter = Arbiter(ROBOT, ArbiterConfig(first_command_timeout=1.0))
        self.loop = ControlLoop(PERIOD, Synchronous(8, min(7, delay + 1), overrun=True), self,
                                wall=lambda: self.now * 0.04)
        self.loop.set_assembler(ObservationAssembler(ObservationSpec.for_robot(ROBOT, 'state')))
        situation = self.loop.situation
        situation.gate_open, situation.digest = True, 'abc'
        situation.instruction, situation.episode_id = 'do it', 'e1'
        self.take(self.arbiter.on_joints(self.position))
        self.take(self.arbiter.on_policy_status(True, '', 'abc'))
        self.take(self.arbiter.on_episode(Episode('', False)))
        self.tick()
        self.take(self.arbiter.on_episode(Episode('e1', True)))

    # -- what the loop asks for

    def infer(self, planned, observation):
        self.asked.append((self.now + self.delay, planned, observation.joints.copy()))

    def command(self, stamp_ns, epoch, decision):
        tag = CommandTag(epoch, decision.chunk_id, decision.index)
        self.take(self.arbiter.on_policy_command(
            Request(stamp_ns, decision.action, ROBOT.joint_names, tag)))

    def chunk(self, report):
        self.observed[report.planned.chunk_id] = report.planned.index

    # -- time

    def take(self, out):
        for record in out:
            if isinstance(record, Executed):
                self.executed.append(record)
                self.position = record.sent
            elif isinstance(record, ModeChange):
                self.loop.set_mode(record.mode is Mode.POLICY, record.mode is Mode.HUMAN,
                                   record.epoch, record.stamp_ns)

    def tick(self, person=None):
        self.now += 1
        stamp = self.now * PERIOD
        self.loop.assembler.add_joints(stamp, ROBOT.joint_names, list(self.position))
        self.loop.assembler.add_state(stamp, ('x',), [0.0])
        self.take(self.arbiter.on_joints(self.position, stamp))
        self.take(self.arbiter.on_tick(Tick(stamp)))
        if person is not None:
            self.take(self.arbiter.on_human_command(
                Request(stamp, self.position + person, ROBOT.joint_names)))
        self.loop.on_tick(stamp)
        while self.asked and self.asked[0][0] <= self.now:
            _, planned, joints = self.asked.pop(0)
            share = np.linspace(0.05, 0.8, HORIZON, dtype=np.float32)[:, None]
            rows = joints + share * (self.goal - joints).astype(np.float32)
            self.loop.on_chunk(planned.chunk_id, rows.astype(np.float32), 0.0)

    def since(self, tick):
        return [record for record in self.executed if record.stamp_ns >= tick * PERIOD]


@pytest.mark.parametrize('delay', [0, 1, 4])
@pytest.mark.parametrize('length', [1, 2, 7, 20])
def test_a_handback_is_bumpless_and_planned_from_what_was_seen_after_it(delay, length):
    both = Both(delay)
    for _ in range(12):
        both.tick()
    both.take(both.arbiter.request_mode(Mode.HUMAN)[2])
    for _ in range(length):
        both.tick(person=np.array([-0.05, 0.05]))  # away from where the policy wants
    granted, _, out = both.arbiter.request_mode(Mode.POLICY)
    back = both.now + 1
    both.take(out)
    for _ in range(25):
        both.tick()
    assert granted
    ticks = [record.stamp_ns // PERIOD for record in both.executed]
    assert ticks == list(range(1, ticks[-1] + 1)), 'a tick twice or none'
    assert ticks[-1] >= both.now - 1
    after = [record for record in both.since(back) if record.source is Source.POLICY]
    assert len(after) > 15
    for record in after:
        seen = both.observed.get(record.tag.chunk, record.stamp_ns // PERIOD - record.tag.index)
        assert seen >= back, 'planned from an observation before the handback'
    steps = np.diff([record.sent for record in both.executed], axis=0)
    assert (np.abs(steps) <= STEP).all(), 'a jump'
    assert (np.abs(np.diff(steps, axis=0)) <= CHANGE).all(), 'a jerk'
    humans = [record for record in both.executed if record.source is Source.HUMAN]
    assert len(humans) == length


def test_a_chunk_under_way_at_the_handback_is_never_executed():
    both = Both(delay=6)
    for _ in range(20):
        both.tick()
    assert both.asked, 'the test needs a chunk under way'
    stale = both.asked[0][1].chunk_id
    both.take(both.arbiter.request_mode(Mode.HUMAN)[2])
    both.tick(person=np.zeros(2))
    both.take(both.arbiter.request_mode(Mode.POLICY)[2])
    for _ in range(20):
        both.tick()
    assert stale not in {record.tag.chunk for record in both.executed if record.tag is not None}

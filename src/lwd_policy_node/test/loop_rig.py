# SPDX-License-Identifier: Apache-2.0
"""A control loop whose clock, samples and worker the test plays."""

import numpy as np

from lwd_core.chunking import Synchronous
from lwd_core.observation import ObservationAssembler, ObservationSpec
from lwd_policy_node.loop import ControlLoop

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

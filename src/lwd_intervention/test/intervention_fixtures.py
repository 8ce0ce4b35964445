# SPDX-License-Identifier: Apache-2.0
"""A small robot and a driver's view of the arbiter for tests."""

import time

import numpy as np

from lwd_core.clock import Tick
from lwd_core.robot import JointSpec, RobotSpec
from lwd_core.topics import CommandTag
from lwd_intervention.arbiter.core import Arbiter
from lwd_intervention.arbiter.records import (
    ArbiterConfig,
    Episode,
    Executed,
    ModeChange,
    Request,
    Takeover,
)
from lwd_intervention.arbiter.watch import Teleop
from lwd_intervention.modes import Mode

PERIOD = 40_000_000
NAMES = ('elbow', 'jaw')
HOME = np.array([0.5, 0.5])


def robot(**changes):
    joints = (JointSpec('elbow', -1.0, 1.0, 4.0, 200.0), JointSpec('jaw', 0.0, 1.0, 5.0, 1000.0))
    return RobotSpec('toy', 'test', joints, (), 25.0, home=(0.5, 0.5), **changes)


class Driven:
    """An arbiter with whole ticks as time, remembering what came out."""

    def __init__(self, episode=None, policy_ready=True, steady=time.monotonic, **config):
        self.core = Arbiter(robot(), ArbiterConfig(**config), steady=steady)
        self.out = []
        self.add(self.core.on_joints(HOME))
        self.add(self.core.on_policy_status(policy_ready, 'loading', 'c0ffee'))
        self.add(self.core.on_episode(Episode('', False)))
        if episode is not None:
            self.tick(0)
            self.run_episode(episode)

    def add(self, out):
        self.out += out
        return out

    def tick(self, k, reset=False):
        return self.add(self.core.on_tick(Tick(k * PERIOD, reset=reset)))

    def policy(self, k, positions=HOME, epoch=None, chunk=7, index=0):
        tag = CommandTag(self.core.epoch if epoch is None else epoch, chunk, index)
        return self.add(self.core.on_policy_command(Request(k * PERIOD, positions, NAMES, tag)))

    def human(self, k, positions=HOME):
        return self.add(self.core.on_human_command(Request(k * PERIOD, positions, NAMES)))

    def request(self, mode, operator='ann', source='pad', reason=''):
        accepted, message, out = self.core.request_mode(mode, operator, source, reason)
        self.add(out)
        return accepted, message

    def run_episode(self, start_mode=Mode.POLICY, id_='e1'):
        return self.add(self.core.on_episode(Episode(id_, True, start_mode=start_mode)))

    def end_episode(self, id_='e1'):
        return self.add(self.core.on_episode(Episode(id_, False, labelling=True)))

    def executed(self):
        return [record for record in self.out if isinstance(record, Executed)]

    def sources(self):
        """Return {tick: source name} of everything executed."""
        return {r.stamp_ns // PERIOD: r.source.name for r in self.executed()}

    def takeovers(self):
        return [record for record in self.out if isinstance(record, Takeover)]

    def changes(self):
        return [record for record in self.out if isinstance(record, ModeChange)]


def teleop(driven, k, held, source='pad', reason=''):
    """Deliver a source's status of tick `k`."""
    driven.add(driven.core.on_teleop_status(source, Teleop(k * PERIOD, held, reason)))

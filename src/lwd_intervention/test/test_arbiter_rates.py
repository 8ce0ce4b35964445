# SPDX-License-Identifier: Apache-2.0
"""The arbiter at every control rate: also where a period is no whole number of milliseconds."""

from dataclasses import replace
import math

from intervention_fixtures import HOME, NAMES, robot
import numpy as np
import pytest

from lwd_core.clock import NS_PER_S, Ticker
from lwd_core.topics import CommandTag
from lwd_intervention.arbiter.core import Arbiter
from lwd_intervention.arbiter.records import Episode, Executed, Request
from lwd_intervention.modes import Mode, Source

SECONDS = 60
EXECUTED = 8  # rows of a chunk


class Played:
    """An arbiter whose clock is read a little after each tick, as a thread wakes late."""

    def __init__(self, rate):
        spec = replace(robot(), control_rate=rate)
        self.period, self.core, self.out = spec.period_ns, Arbiter(spec), []
        self.ticker, self.now = Ticker(self.period), 1_790_000_000 * NS_PER_S + 123
        self.ticker.advance(self.now)
        self.core.on_joints(HOME)
        self.core.on_policy_status(True, '', 'c0ffee')
        self.core.on_episode(Episode('', False))

    def tick(self):
        self.now = self.ticker.next_after(self.now) + 400_000
        tick = self.ticker.advance(self.now)
        self.out += self.core.on_tick(tick)
        return tick.stamp_ns

    def policy(self, stamp, positions, row):
        tag = CommandTag(self.core.epoch, 1, row)
        self.out += self.core.on_policy_command(Request(stamp, positions, NAMES, tag))

    def executed(self, source):
        return [record for record in self.out
                if isinstance(record, Executed) and record.source is source]


@pytest.mark.parametrize('rate', [25.0, 30.0, 50.0, 100.0])
def test_every_tick_of_the_policy_is_executed_and_counted(rate):
    played = Played(rate)
    played.tick()
    played.out += played.core.on_episode(Episode('e1', True, start_mode=Mode.POLICY))
    for k in range(round(SECONDS * rate)):
        stamp = played.tick()
        played.policy(stamp, HOME + 0.2 * math.sin(2 * math.pi * k / rate / 5), k % EXECUTED)
    done = played.executed(Source.POLICY)
    assert [record.tick for record in done] == list(range(round(SECONDS * rate)))
    assert set(np.diff([record.stamp_ns for record in done])) == {played.period}
    assert played.core.mode is Mode.POLICY
    assert not played.core.refused and not played.core.clamped


@pytest.mark.parametrize('rate', [25.0, 30.0, 50.0, 100.0])
def test_the_policy_is_held_for_at_the_third_tick_without_a_command(rate):
    played = Played(rate)
    played.tick()
    played.out += played.core.on_episode(Episode('e1', True, start_mode=Mode.POLICY))
    played.policy(played.tick(), HOME, 0)
    modes = []
    for _ in range(4):
        played.tick()
        modes.append(played.core.mode)
    assert modes == [Mode.POLICY] * 2 + [Mode.HOLD] * 2

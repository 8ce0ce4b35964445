# SPDX-License-Identifier: Apache-2.0
"""Random persons at the real session and the real arbiter: what must never happen does not.

A person presses, holds and lets go of whatever he likes, devices fall silent, send rubbish and come
back, episodes begin and end, messages between the two arrive now or a tick late.
"""

import math

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
from teleop_fixtures import HOME, pad, PERIOD, robot, StickSource

from lwd_core.clock import Tick
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
from lwd_intervention.episode.state import Phase
from lwd_intervention.modes import Mode, Source
from lwd_intervention.teleop.controls import JoySample
from lwd_intervention.teleop.effects import AskMode, CallEpisode, SendCommand, State
from lwd_intervention.teleop.session import Session

PADS = ('held', 'free', 'silent', 'nan', 'unplugged', 'old', 'stands')
STEP = st.tuples(
    st.sampled_from(PADS), st.sampled_from([(), ('lb',), ('rb',), ('lb', 'rb')]),
    st.sampled_from(['', '', '', 'y', 'b', 'start', 'a', 'x']), st.integers(1, 5),
    st.booleans(), st.sampled_from(['', '', '', 'begin', 'end', 'next']))


class World:
    """One robot: arbiter, session, a policy that is always ready; all messages arrive in order."""

    def __init__(self, late):
        self.arbiter = Arbiter(robot(), ArbiterConfig())
        mapping = pad()
        self.session = Session(mapping, StickSource(mapping))
        self.mapping, self.late = mapping, late
        self.now, self.wobble, self.count = 100 * PERIOD, 0.0, 0
        self.queue, self.executed, self.changes, self.takeovers = [], [], [], []
        self.down, self.requested = set(), []
        self.phase, self.episode = Phase.IDLE, ''
        self.do(self.arbiter.on_joints(HOME, self.now))
        self.do(self.arbiter.on_policy_status(True, '', 'c0ffee'))
        self.do(self.arbiter.on_episode(Episode('', False)))
        self.do(self.arbiter.on_tick(Tick(self.now)))
        self.session.on_joints(HOME)

    # -- messages --------------------------------------------------------------------------------

    def do(self, records):
        for record in records:
            if isinstance(record, Executed):
                self.executed.append((record, self.held_now(), self.session.state))
                self.session.on_sent(record.sent)
            elif isinstance(record, ModeChange):
                self.changes.append(record)
                self.send(lambda record=record: self.session.on_mode(record.mode))
            elif isinstance(record, Takeover):
                self.takeovers.append(record)

    def held_now(self):
        return any(name in self.down for name in ('lb', 'rb'))

    def send(self, deliver):
        """Deliver now, or with the next tick."""
        if self.late:
            self.queue.append(deliver)
        else:
            self.effects(deliver())

    def effects(self, effects):
        for effect in effects or ():
            if isinstance(effect, SendCommand):
                self.do(self.arbiter.on_human_command(
                    Request(effect.stamp_ns, effect.positions, robot().joint_names)))
            elif isinstance(effect, AskMode):
                self.requested.append((len(self.changes), effect.mode))
                accepted, message, records = self.arbiter.request_mode(
                    effect.mode, 'ann', 'joystick', effect.reason)
                self.do(records)
                self.send(lambda mode=effect.mode, ok=accepted, text=message:
                          self.session.on_answer(mode, ok, text))
            elif isinstance(effect, CallEpisode):
                assert effect.what == 'start' or effect.episode_id == self.episode
                if effect.what != 'start':
                    self.change_episode('end')

    def change_episode(self, what):
        if what == 'begin' and self.phase is Phase.IDLE or what == 'next':
            self.count += 1
            self.episode, self.phase = f'e{self.count}', Phase.RUNNING
        elif what == 'end' and self.phase is Phase.RUNNING:
            self.phase = Phase.IDLE
        else:
            return
        self.do(self.arbiter.on_episode(
            Episode(self.episode, self.phase is Phase.RUNNING, start_mode=Mode.POLICY)))
        self.effects(self.session.on_episode(self.episode, self.phase, self.now))

    # -- time ------------------------------------------------------------------------------------

    def tick(self, kind, down, moved):
        self.now += PERIOD
        waiting, self.queue = self.queue, []
        for deliver in waiting:
            self.effects(deliver())
        self.do(self.arbiter.on_joints(HOME, self.now))
        self.do(self.arbiter.on_tick(Tick(self.now)))
        self.pad(kind, down, moved)
        self.effects(self.session.on_tick(self.now))
        if self.arbiter.mode is Mode.POLICY:
            self.do(self.arbiter.on_policy_command(Request(
                self.now, HOME, robot().joint_names, CommandTag(self.arbiter.epoch, 7, 0))))

    def pad(self, kind, down, moved):
        if kind == 'silent':
            return
        self.wobble = 0.002 - self.wobble
        stick = (0.5 + self.wobble) * moved
        sound = kind in ('held', 'free')
        self.down = set(() if kind == 'free' else down)
        buttons = [int(name in self.down) for name in self.mapping.buttons]
        stamp = {'old': self.now - 10 * PERIOD, 'stands': 100 * PERIOD}.get(kind, self.now)
        axes = (math.nan,) if kind == 'nan' else (stick,)
        if kind == 'unplugged':
            axes, buttons = (), ()
        if not sound:
            self.down = set()
        self.effects(self.session.on_joy(JoySample(stamp, axes, buttons), self.now))


def check(world):
    stamps = [record.stamp_ns for record, _, _ in world.executed]
    assert stamps == sorted(set(stamps)), 'a tick with two commands'
    before, source = None, None
    for record, held, _ in world.executed:
        if before is not None and record.source is Source.HUMAN and source is Source.HUMAN \
                and not held:
            assert np.array_equal(record.sent, before), 'moved in HUMAN without a deadman'
        before, source = record.sent, record.source
    for change in world.changes:
        if change.mode is Mode.POLICY and change.previous is not Mode.POLICY:
            by_hand = change.requested_by == 'ann' and 'handback' in change.reason
            by_episode = change.requested_by == 'episode'
            back = change.reason == 'policy is back'
            assert by_hand or by_episode or back, change
        if change.previous is Mode.HUMAN and change.mode is Mode.POLICY:
            assert 'handback button' in change.reason, 'from the person to the policy by itself'
        if change.previous is Mode.ESTOP:
            assert change.mode is Mode.HOLD and change.requested_by == 'ann'
    started = [record.id for record in world.takeovers if record.end_reason is None]
    ended = [record.id for record in world.takeovers if record.end_reason is not None]
    assert ended == started[:len(ended)] and len(started) - len(ended) <= 1


@settings(max_examples=1000, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, min_size=3, max_size=10), st.booleans())
def test_whatever_a_person_and_his_device_do_nothing_forbidden_happens(steps, late):
    world = World(late)
    world.change_episode('begin')
    for kind, deadman, button, ticks, moved, episode in steps:
        world.change_episode(episode)
        for _ in range(ticks):
            world.tick(kind, (*deadman, *([button] if button else [])), moved)
    check(world)
    # Whatever happened: let go, and within two ticks nothing moves and nobody drives by hand.
    for _ in range(3):
        world.tick('free', (), False)
    assert world.arbiter.mode is not Mode.HUMAN and not world.session.driving
    assert world.session.state is not State.DRIVING


def test_the_random_person_does_drive_and_hand_back():
    world = World(False)
    world.change_episode('begin')
    for kind, down, ticks in (('free', (), 3), ('held', ('lb',), 10), ('held', ('lb', 'y'), 2),
                              ('free', (), 3), ('held', ('lb',), 5), ('nan', ('lb',), 3)):
        for _ in range(ticks):
            world.tick(kind, down, True)
    check(world)
    modes = [change.mode.name for change in world.changes]
    assert modes == ['POLICY', 'HUMAN', 'POLICY', 'HUMAN', 'HOLD']
    assert len(world.takeovers) == 4 and world.session.state is State.LOST
    human = [record.sent[0] for record, _, _ in world.executed if record.source is Source.HUMAN]
    assert max(human) > HOME[0] + 0.2

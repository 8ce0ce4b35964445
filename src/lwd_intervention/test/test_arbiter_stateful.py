# SPDX-License-Identifier: Apache-2.0
"""Random event sequences against the rules that no sequence may break."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, RuleBasedStateMachine
from intervention_fixtures import Driven, HOME, PERIOD, robot
import numpy as np

from lwd_intervention.arbiter.records import Executed, ModeChange, Takeover
from lwd_intervention.modes import allowed, Cause, DRIVERS, Mode

SOURCES = {'HOLD': None, 'POLICY': Mode.POLICY, 'HUMAN': Mode.HUMAN}
positions = st.lists(st.one_of(st.floats(-2.0, 2.0), st.just(float('nan')), st.floats()),
                     min_size=2, max_size=2)
near = st.integers(-4, 3)


class ArbiterMachine(RuleBasedStateMachine):
    """Ticks, commands, requests, episodes, losses, clock jumps in any order."""

    def __init__(self):
        super().__init__()
        self.driven = Driven()
        self.now, self.episodes = 0, 0
        self.driven.tick(0)
        self.checked = 0
        self.mode, self.epoch, self.since = Mode.HOLD, 0, 0
        self.answered = set()
        self.open_takeovers = set()
        self.lost_person = False
        self.asked = False  # the current event is an explicit request or an episode's start
        self.speed = dict.fromkeys(('elbow', 'jaw'), 0.0)

    @rule(step=st.sampled_from([1, 1, 1, 1, 1, 2, 5, 40]))
    def tick(self, step):
        self.now += step
        self.driven.tick(self.now)

    @rule(back=st.integers(1, 50))
    def clock_jumps_back(self, back):
        self.now = max(0, self.now - back)
        self.answered = set()
        self.driven.tick(self.now, reset=True)

    @rule(ahead=near, where=positions, old=st.booleans())
    def policy(self, ahead, where, old):
        self.driven.policy(max(0, self.now + ahead), where, self.driven.core.epoch - old)

    @rule(ahead=near, where=positions)
    def human(self, ahead, where):
        self.driven.human(max(0, self.now + ahead), where)

    @rule(mode=st.sampled_from(list(Mode)))
    def request(self, mode):
        before = self.driven.core.mode
        self.asked = True
        accepted, message = self.driven.request(mode)
        assert message
        assert not accepted or before is mode or allowed(before, mode, Cause.REQUEST)

    @rule(ready=st.booleans())
    def policy_status(self, ready):
        self.driven.add(self.driven.core.on_policy_status(ready, '', 'c0ffee'))

    @precondition(lambda self: not self.driven.core.running)
    @rule(mode=st.sampled_from([Mode.POLICY, Mode.HUMAN]))
    def episode_starts(self, mode):
        self.asked, self.lost_person = True, False
        self.episodes += 1
        self.driven.run_episode(mode, f'e{self.episodes}')

    @precondition(lambda self: self.driven.core.running)
    @rule()
    def episode_ends(self):
        self.driven.end_episode(f'e{self.episodes}')
        assert not self.open_after()

    @rule(jump=st.booleans())
    def joints(self, jump):
        self.driven.add(self.driven.core.on_joints(HOME * (0.0 if jump else 1.0)))

    @rule()
    def wall_clock_runs_out(self):
        self.driven.add(self.driven.core.answer_open_tick())

    def open_after(self):
        return self.driven.core.takeovers.open is not None

    @invariant()
    def the_rules_hold(self):
        for record in self.driven.out[self.checked:]:
            {Executed: self.check_executed, ModeChange: self.check_change,
             Takeover: self.check_takeover}[type(record)](record)
        self.checked, self.asked = len(self.driven.out), False
        assert (self.open_takeovers != set()) == self.open_after()
        assert not self.open_takeovers or self.mode is Mode.HUMAN

    def check_executed(self, record):
        limits = robot().joints
        assert record.stamp_ns not in self.answered, 'two commands in one tick'
        self.answered.add(record.stamp_ns)
        assert record.stamp_ns % PERIOD == 0
        driver = SOURCES[record.source.name]
        assert driver is None or driver is self.mode, 'an action of somebody who does not drive'
        assert driver is None or record.stamp_ns >= self.since, 'older than the mode change'
        assert record.epoch == self.epoch
        for joint, value in zip(limits, record.sent):
            assert np.isfinite(value) and joint.lower <= value <= joint.upper

    def check_change(self, record):
        assert record.previous is self.mode and record.epoch == self.epoch + 1
        assert any(allowed(record.previous, record.mode, cause) for cause in Cause)
        if record.mode is Mode.POLICY and self.lost_person:
            assert self.asked, 'the policy drives after a lost person and nobody handed back'
        if record.previous is Mode.ESTOP:
            assert self.asked and record.mode is Mode.HOLD
        if record.previous is Mode.HUMAN and record.mode is Mode.HOLD:
            self.lost_person = True
        if record.mode in DRIVERS:
            self.lost_person = False
        self.mode, self.epoch, self.since = record.mode, record.epoch, record.stamp_ns

    def check_takeover(self, record):
        if record.end_reason is None:
            assert record.id not in self.open_takeovers and self.mode is Mode.HUMAN
            self.open_takeovers.add(record.id)
        else:
            self.open_takeovers.remove(record.id)
            assert record.end_tick >= record.start_tick or record.end_reason == 'clock jumped'

    def teardown(self):
        self.driven.add(self.driven.core.shutdown())
        self.the_rules_hold()
        assert self.open_takeovers == set()


ArbiterMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestArbiter = ArbiterMachine.TestCase

# SPDX-License-Identifier: Apache-2.0
"""1,000 random sessions with a scripted device against what the operator trusts blindly."""

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, RuleBasedStateMachine
from intervention_fixtures import PERIOD
import numpy as np
import pytest
from session_fixtures import ROBOT, Session

from lwd_intervention.arbiter.records import Executed, ModeChange, Takeover, Unclaimed
from lwd_intervention.episode.state import Outcome, Phase, State
from lwd_intervention.modes import allowed, Cause, DRIVERS, Mode, Source
from lwd_msgs.msg import Intervention

pytestmark = pytest.mark.timeout(900)  # a quarter of a minute, on a machine of its own
STEP = np.array([joint.velocity for joint in ROBOT.joints]) * PERIOD / 1e9 + 1e-9
CHANGE = np.array([joint.acceleration for joint in ROBOT.joints]) * (PERIOD / 1e9) ** 2 + 1e-9


class SessionMachine(RuleBasedStateMachine):
    """Any order of what people, devices, policies, clocks and processes do."""

    def __init__(self):
        super().__init__()
        self.session = Session()
        self.checked = 0
        self.mode, self.epoch, self.since = Mode.HOLD, 0, 0
        self.answered = set()
        self.previous = self.step = None    # last sent, and the step that led to it
        self.lost_person, self.asked, self.restarted = False, None, False
        self.open = set()
        self.unheld_at = None               # tick at which the deadman was released
        self.labels = {}                    # episode -> its outcome once it has one
        self.pressed_in = ''
        self.phase = Phase.IDLE
        self.ended = {}                     # takeover -> its newest end
        self.said, self.unclaimed = [], []  # words, numbered, less those a crash took along
        self.words = 0

    # -- time

    @rule(count=st.sampled_from([1, 1, 1, 2, 3, 5]))
    def ticks(self, count):
        for _ in range(count):
            self.session.tick()

    @rule(step=st.integers(2, 30))
    def the_arbiter_sleeps(self, step):
        self.session.tick(step)

    @rule(back=st.integers(1, 40))
    def the_clock_jumps_back(self, back):
        self.check()
        self.answered.clear()
        self.session.tick(-min(back, self.session.now), reset=True)

    # -- what usually happens, so that sequences get as far as the unusual

    @initialize(mode=st.sampled_from([Mode.POLICY, Mode.POLICY, Mode.HUMAN, None]))
    def a_session_begins(self, mode):
        if mode is not None:
            self.asked = mode
            self.session.start(mode)
            self.ticks(2)

    @rule(ticks=st.integers(0, 4))
    def a_takeover_as_it_should_be(self, ticks):
        device = self.session.device
        device.held, device.plugged = True, True
        device.frozen = device.nan = device.stuck = False
        self.session.policy_acts = self.session.joints_come = True
        self.session.status()
        self.session.take(self.session.arbiter.on_writers(()))
        self.session.tick()
        self.check()
        self.asked = Mode.HUMAN
        self.session.ask(Mode.HUMAN)
        self.ticks(ticks)

    @rule()
    def a_takeover_whose_source_goes_on_after_the_deadman_is_released(self):
        self.a_takeover_as_it_should_be(2)
        self.session.device.stuck = True
        self.release_the_deadman()
        self.ticks(2)

    @rule()
    def a_takeover_whose_device_dies_while_the_policy_is_well(self):
        self.a_takeover_as_it_should_be(2)
        self.session.device.frozen = True
        self.ticks(4)
        self.check()
        self.asked = None
        self.the_policy_is_ready_or_not(True)

    @rule()
    def a_takeover_amid_which_the_clock_is_set_right(self):
        self.a_takeover_as_it_should_be(4)
        self.the_clock_jumps_back(3)
        self.ticks(2)

    @rule()
    def a_takeover_amid_which_the_arbiter_crashes(self):
        self.a_takeover_as_it_should_be(3)
        self.the_arbiter_crashes()

    # -- the device

    @rule()
    def squeeze_the_deadman(self):
        self.session.device.held = True
        self.session.status()

    @rule()
    def release_the_deadman(self):
        self.check()
        self.session.device.held = False
        self.session.status()

    @rule(what=st.sampled_from(['plugged', 'frozen', 'nan', 'stuck']))
    def the_device_misbehaves_or_recovers(self, what):
        setattr(self.session.device, what, not getattr(self.session.device, what))
        self.session.status()

    @rule()
    def push_the_stick_the_other_way(self):
        self.session.device.direction *= -1.0

    @rule()
    def the_source_sends_its_status_again(self):
        self.session.status()

    @rule(driver=st.sampled_from(DRIVERS), ahead=st.integers(-4, 2), epochs_ago=st.integers(0, 2),
          index=st.integers(0, 3))
    def a_command_of_another_time(self, driver, ahead, epochs_ago, index):
        self.session.stray(driver, ahead, epochs_ago, index)

    # -- people

    @rule(mode=st.sampled_from(list(Mode)))
    def ask(self, mode):
        before = self.session.arbiter.mode
        self.asked = mode
        accepted, message = self.session.ask(mode)
        assert message, 'an answer without words'
        assert not accepted or before is mode or allowed(before, mode, Cause.REQUEST)

    @rule()
    def say_why(self):
        self.words += 1
        self.said.append(f'because {self.words}')
        self.session.say(self.said[-1])

    @rule(ticks=st.integers(0, 30))
    def a_takeover_with_words_after_it(self, ticks):
        self.a_takeover_as_it_should_be(1)
        self.release_the_deadman()
        self.ticks(ticks)
        self.say_why()

    @rule(ticks=st.integers(0, 3))
    def a_takeover_that_a_label_ends_with_words_after_it(self, ticks):
        self.a_takeover_as_it_should_be(1)
        self.session.label(Outcome.SUCCESS, True)
        self.ticks(ticks)
        self.say_why()

    @rule(mode=st.sampled_from([Mode.POLICY, Mode.HUMAN]))
    def start_an_episode(self, mode):
        self.asked = mode
        if self.session.start(mode):
            self.lost_person = False  # who starts an episode says who is to drive

    @rule(outcome=st.sampled_from([Outcome.SUCCESS, Outcome.FAILURE, Outcome.DISCARDED]),
          named=st.booleans())
    def label(self, outcome, named):
        self.session.label(outcome, named)

    # -- everything else

    @rule(what=st.sampled_from(['policy_acts', 'policy_nan', 'joints_come']))
    def something_breaks_or_recovers(self, what):
        setattr(self.session, what, not getattr(self.session, what))

    @rule(ready=st.booleans())
    def the_policy_is_ready_or_not(self, ready):
        self.session.policy_ready = ready
        self.session.take(self.session.arbiter.on_policy_status(ready, 'loading', 'c0ffee'))

    @rule(present=st.booleans())
    def a_second_writer(self, present):
        self.session.take(self.session.arbiter.on_writers(('/x',) if present else ()))

    @rule()
    def the_arbiter_crashes(self):
        self.check()
        self.mode, self.epoch, self.since = Mode.HOLD, 0, 0
        self.lost_person = False
        self.answered.clear()
        self.previous = self.step = None  # another process: it starts where the robot stands
        # The bag has what was said; who it belonged to died with the arbiter.
        self.said = [words for words in self.said if words in self.claimed() + self.unclaimed]
        self.session.crash()

    # -- what must hold

    @invariant()
    def nothing_breaks_the_rules(self):
        self.check()
        self.asked = None

    def check(self):
        for _, record in self.session.bag[self.checked:]:
            {Executed: self.check_executed, ModeChange: self.check_change, State: self.check_state,
             Takeover: self.check_takeover, Intervention: self.check_end,
             Unclaimed: lambda record: self.unclaimed.append(record.words)}[type(record)](record)
        self.checked = len(self.session.bag)

    def check_executed(self, record):
        assert record.stamp_ns not in self.answered, 'two commands, or two sources, in one tick'
        self.answered.add(record.stamp_ns)
        driver = {Source.POLICY: Mode.POLICY, Source.HUMAN: Mode.HUMAN}.get(record.source)
        assert driver is None or driver is self.mode, 'an action of somebody who does not drive'
        assert record.epoch == self.epoch
        assert record.stamp_ns >= self.since or driver is None, 'older than the mode change'
        if driver is Mode.POLICY:
            planned = record.stamp_ns - record.tag.index * PERIOD
            assert record.tag.epoch == self.epoch and planned >= self.since, 'an old plan'
        if record.source is Source.HUMAN:
            assert self.session.device.held, 'motion without the deadman'
        assert np.isfinite(record.sent).all()
        if self.previous is not None:
            self.check_motion(record)
        self.previous = record.sent

    def check_motion(self, record):
        step = record.sent - self.previous
        assert (np.abs(step) <= STEP).all(), 'faster than the robot file allows'
        if self.step is not None:
            assert (np.abs(step - self.step) <= CHANGE).all(), 'a jerk at a change of driver'
            if record.source is Source.HOLD and not record.clamped:
                slower = np.abs(step) <= np.abs(self.step) + 1e-9
                assert slower.all(), 'a hold that speeds up'
        self.step = step

    def check_change(self, record):
        assert record.previous is self.mode and record.epoch == self.epoch + 1 and record.reason
        assert any(allowed(record.previous, record.mode, cause) for cause in Cause)
        if record.mode is Mode.POLICY and self.lost_person:
            assert self.asked is Mode.POLICY, 'the policy drives again and nobody handed back'
        if record.mode is Mode.HUMAN:
            assert self.asked is Mode.HUMAN, 'a person drives who did not ask to'
        if record.previous is Mode.ESTOP:
            assert self.asked is Mode.HOLD
        if record.previous is Mode.HUMAN and record.mode in (Mode.HOLD, Mode.ESTOP):
            self.lost_person = True
        if record.mode in DRIVERS:
            self.lost_person = False
        self.mode, self.epoch, self.since = record.mode, record.epoch, record.stamp_ns

    def check_takeover(self, record):
        assert record.episode_id and record.operator == 'ann' and record.source == 'pad'
        if record.end_reason is None:
            assert self.mode is Mode.HUMAN and not self.open
            self.open.add((record.episode_id, record.id))
            return
        assert record.end_reason
        key = (record.episode_id, record.id)
        if key in self.open:
            self.open.remove(key)
        else:  # once more, with the words that came after it
            assert self.phase in (Phase.RUNNING, Phase.LABELLING), 'after the bag was closed'
            before = self.ended[key]
            assert replace(record, reason=before.reason) == before
            assert before.reason.startswith('takeover') and record.reason.startswith('because')
        self.ended[key] = record

    def claimed(self):
        return [words for record in self.ended.values() if record.reason.startswith('because')
                for words in record.reason.split('; ')]

    def check_end(self, message):
        assert message.end_reason == 'arbiter restarted'
        self.open.remove((message.episode_id, message.id))

    def check_state(self, state):
        self.phase = state.phase
        if state.outcome is not Outcome.UNLABELLED:
            assert self.labels.setdefault(state.id, state.outcome) is state.outcome, 'relabelled'

    def teardown(self):
        self.session.finish()
        self.check()
        assert not self.open, 'a start without an end in the bag'
        assert sorted(self.claimed() + self.unclaimed) == sorted(self.said), 'words lost or doubled'


SessionMachine.TestCase.settings = settings(
    max_examples=1000, stateful_step_count=30, deadline=None,
    suppress_health_check=[HealthCheck.too_slow])
TestSession = SessionMachine.TestCase

# SPDX-License-Identifier: Apache-2.0
"""The session on a fake clock: deadman, losses, buttons, boundaries."""

import math

import numpy as np
import pytest
from teleop_fixtures import HOME, PERIOD, Person

from lwd_intervention.episode.state import Phase
from lwd_intervention.modes import Mode
from lwd_intervention.teleop.controls import JoySample
from lwd_intervention.teleop.effects import State
from lwd_intervention.teleop.health import HealthConfig
from lwd_intervention.teleop.session import SessionConfig


def driving(stick=0.0, **config):
    """Return a person who holds the left deadman and drives."""
    person = Person(**config)
    person.live(ticks=2)
    person.live('lb')
    person.mode(Mode.HUMAN)
    person.live('lb', stick=stick)
    assert person.session.state is State.DRIVING
    person.out.clear()
    return person


def test_the_deadman_takes_over_and_the_open_tick_gets_its_command_first():
    person = Person()
    person.live(ticks=2)
    assert person.commands() == [] and person.asked() == []
    person.tick()
    effects = person.joy('lb')
    assert [type(effect).__name__ for effect in effects] == ['SendCommand', 'AskMode']
    assert effects[0].stamp_ns == person.now and np.array_equal(effects[0].positions, HOME)
    assert effects[1].mode is Mode.HUMAN


def test_until_human_is_in_force_the_robot_stays_where_it_was_sent():
    person = Person()
    person.live()
    person.session.on_sent(HOME + 0.2)
    person.live('lb', stick=1.0, ticks=3)
    assert all(np.array_equal(command.positions, HOME + 0.2) for command in person.commands())
    person.session.on_sent(HOME + 0.3)
    person.mode(Mode.HUMAN)
    assert np.array_equal(person.source.begun[-1], HOME + 0.3), 'starts from what was sent last'
    person.live('lb', stick=1.0)
    assert person.commands()[-1].positions[0] > HOME[0] + 0.3


def test_every_tick_is_answered_once_while_driving():
    person = driving(stick=1.0)
    person.live('lb', stick=1.0, ticks=20)
    stamps = [command.stamp_ns for command in person.commands()]
    assert stamps == [person.now - PERIOD * k for k in range(19, -1, -1)]


def test_only_the_arm_whose_deadman_is_held_moves():
    person = driving(stick=1.0)
    person.live('lb', stick=1.0, ticks=5)
    last = person.commands()[-1].positions
    assert last[0] > HOME[0] + 0.4 and last[2] == HOME[2]
    person.live('lb', 'rb', stick=1.0, ticks=5)
    assert person.commands()[-1].positions[2] > HOME[2] + 0.3


def test_letting_go_stops_at_once_and_asks_for_hold_never_for_policy():
    person = driving(stick=1.0)
    person.tick()
    before = len(person.commands())
    person.joy()
    person.live(ticks=10)
    assert len(person.commands()) == before
    assert person.asked() == ['HOLD'] and person.reasons() == ['deadman released']
    assert person.session.state is State.IDLE


LOSSES = {
    'silent': lambda person: [person.tick() for _ in range(5)],
    'stamp stands': lambda person: [
        (person.tick(), person.joy('lb', stick=0.5, age=k * PERIOD)) for k in range(1, 6)],
    'unplugged': lambda person: (person.tick(), person.add(person.session.on_joy(
        JoySample(person.now, (), ()), person.now))),
    'nan': lambda person: (person.tick(), person.joy('lb', axes=(math.nan,))),
    'inf': lambda person: (person.tick(), person.joy('lb', axes=(math.inf,))),
    'short': lambda person: (person.tick(), person.joy('lb', axes=())),
    'late': lambda person: (person.tick(), person.joy('lb', age=200_000_000)),
    'future': lambda person: (person.tick(), person.joy('lb', age=-10**9)),
    'frozen': lambda person: [
        (person.tick(), person.joy('lb', stick=0.5)) for _ in range(80)],
}
WORDS = {'silent': 'silent for 0.1', 'stamp stands': 'stamp stands still', 'nan': 'stick is nan',
         'inf': 'stick is inf', 'unplugged': 'unplugged', 'short': 'needs 1 and 9',
         'late': 'messages come late', 'future': '1.00 s ahead', 'frozen': 'no axis or button'}


@pytest.mark.parametrize('loss', LOSSES)
def test_each_loss_holds_within_a_tick_and_never_returns_by_itself(loss):
    person = driving(stick=0.5)
    person.live('lb', stick=0.5, ticks=3)
    LOSSES[loss](person)
    assert person.session.state is State.LOST and WORDS[loss] in person.session.reason
    assert person.asked() == ['HOLD'] and WORDS[loss] in person.reasons()[0]
    person.mode(Mode.HOLD)
    sent = len(person.commands())
    person.live('lb', stick=0.5, ticks=50)
    assert len(person.commands()) == sent and person.asked() == ['HOLD'], 'held deadman moves'
    assert person.session.state is State.LOST
    person.live()
    assert person.session.state is State.IDLE
    person.live('lb')
    assert person.asked() == ['HOLD', 'HUMAN'], 'pressed anew, it takes over again'


def test_silence_is_noticed_at_the_first_tick_beyond_the_limit():
    person = driving(stick=0.5)
    person.tick()
    person.joy('lb', stick=0.5)
    ages = []
    while person.session.driving:
        person.tick()
        ages.append(person.session.health.age(person.now))
    assert ages[-1] == pytest.approx(0.16) and len(ages) == 4


def test_a_still_hand_is_no_dead_device_and_the_rule_can_be_switched_off():
    person = driving()
    for _ in range(200):
        person.tick()
        person.joy('lb')
    assert person.session.state is State.DRIVING, 'sticks in the middle ask for nothing'
    person = driving(config=SessionConfig(HealthConfig(frozen_after=0.0)))
    for _ in range(200):
        person.tick()
        person.joy('lb', stick=1.0)
    assert person.session.state is State.DRIVING


def test_a_device_never_heard_of_is_lost_not_idle():
    person = Person()
    person.tick()
    assert person.session.state is State.LOST and 'no message' in person.session.reason
    person.joy('lb')
    assert person.session.state is State.LOST, 'the deadman was down from the start'
    person.joy()
    assert person.session.state is State.IDLE


def test_a_fault_of_the_source_is_a_loss_too():
    person = driving()
    person.source.fault = 'leader silent'
    person.tick()
    assert person.session.state is State.LOST and person.asked() == ['HOLD']
    person.live()
    assert person.session.state is State.LOST, 'still out of order'
    person.source.fault = ''
    person.live()
    assert person.session.state is State.IDLE


def test_handback_is_asked_by_its_button_and_letting_go_then_is_no_hold():
    person = driving()
    person.live('lb', 'y')
    assert person.asked() == ['POLICY'] and person.session.driving, 'drives until it is granted'
    person.live()
    assert person.asked() == ['POLICY']
    person.add(person.session.on_answer(Mode.POLICY, True, ''))
    person.mode(Mode.POLICY)
    person.live(ticks=3)
    assert person.asked() == ['POLICY'] and person.session.state is State.IDLE


def test_a_refused_handback_leaves_the_person_in_charge():
    person = driving()
    person.live('lb', 'y')
    person.add(person.session.on_answer(Mode.POLICY, False, 'the policy is not ready'))
    person.live('lb', ticks=3)
    assert person.session.driving and 'not ready' in person.said()[-1]


def test_a_handback_refused_after_letting_go_ends_in_hold():
    person = driving()
    person.live('y')
    assert person.asked() == ['POLICY']
    person.add(person.session.on_answer(Mode.POLICY, False, 'the policy is not ready'))
    assert person.asked() == ['POLICY', 'HOLD']


def test_the_deadman_still_held_after_a_handback_takes_nothing_over():
    person = driving()
    person.live('lb', 'y')
    person.mode(Mode.POLICY)
    assert not person.session.driving
    sent = len(person.commands())
    person.live('lb', ticks=20)
    assert len(person.commands()) == sent and person.asked() == ['POLICY']


def test_a_mode_taken_by_others_ends_driving_until_pressed_anew():
    person = driving()
    person.mode(Mode.HOLD)
    person.live('lb', ticks=5)
    assert person.commands() == [] and person.asked() == []


def test_a_refused_takeover_sends_nothing_more():
    person = Person()
    person.live()
    person.live('lb')
    person.add(person.session.on_answer(Mode.HUMAN, False, 'no'))
    sent = len(person.commands())
    person.live('lb', ticks=5)
    assert len(person.commands()) == sent and person.asked() == ['HUMAN']


def test_estop_needs_no_deadman_and_start_releases_it():
    person = Person()
    person.live()
    person.live('b')
    assert person.asked() == ['ESTOP']
    person.mode(Mode.ESTOP)
    person.live()
    person.live('lb')
    assert person.asked() == ['ESTOP'] and 'release' in person.said()[-1]
    person.live('start')
    assert person.asked() == ['ESTOP', 'HOLD']


def test_labels_go_to_the_episode_that_runs_and_to_no_other():
    person = Person()
    person.live()
    person.live('a')
    assert person.called() == [] and 'no episode' in person.said()[-1]
    person.episode('e1', Phase.RUNNING)
    person.live()
    person.live('a')
    assert person.called() == [('success', 'e1')]


@pytest.mark.parametrize('button', ['a', 'x', 'y', 'start'])
def test_a_button_held_across_an_episodes_boundary_labels_nothing(button):
    person = Person()
    person.episode('e1', Phase.RUNNING)
    person.live()
    person.live(button)
    before = person.asked(), person.called(), person.said()
    person.episode('e1', Phase.IDLE)
    person.live(button, ticks=2)
    person.episode('e2', Phase.RESETTING)
    person.episode('e2', Phase.RUNNING)
    person.live(button, ticks=10)
    assert (person.asked(), person.called(), person.said()) == before
    person.live()
    person.live(button)
    assert (person.asked(), person.called(), person.said()) != before


def test_a_deadman_held_across_a_boundary_takes_nothing_over():
    person = Person()
    person.live()
    person.tick()
    person.episode('e1', Phase.RUNNING)
    late = person.now - 1
    person.now -= 1            # released and pressed in messages from before the boundary
    person.joy()
    person.joy('lb')
    person.now = late + 1
    assert person.asked() == []
    person.live()
    person.live('lb')
    assert person.asked() == ['HUMAN']


def test_starting_by_hand_waits_for_the_deadman_in_hold():
    person = Person()
    person.live()
    person.live('start')
    assert person.called() == [('start', '')]
    person.episode('e1', Phase.RUNNING)
    person.mode(Mode.HUMAN)
    assert person.asked() == ['HOLD'] and person.commands() == []


def test_a_source_that_aligns_says_so():
    person = driving()
    person.source.aligned = False
    person.live('lb')
    assert person.session.state is State.ALIGNING and person.session.driving


def test_a_scripted_device_answers_each_tick_with_the_message_of_that_tick():
    person = driving(stick=1.0, config=SessionConfig(await_joy=True))
    for _ in range(5):
        assert not any(type(e).__name__ == 'SendCommand' for e in person.tick())
        assert [e.stamp_ns for e in person.joy('lb', stick=1.0)] == [person.now]


def test_leaving_holds_the_robot():
    person = driving()
    person.add(person.session.shutdown())
    assert person.asked() == ['HOLD'] and not person.session.driving
    assert person.session.shutdown() == []

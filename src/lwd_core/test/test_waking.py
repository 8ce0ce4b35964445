# SPDX-License-Identifier: Apache-2.0
"""Waking early: learned from how late wake-ups were, never late for it, never watching for long."""

from lwd_core.waking import LONGEST_WATCH_NS, Waker

PERIOD = 20_000_000


class Machine:
    """A clock that a look at it moves by 1 us, and sleeps that end `late` ns late."""

    def __init__(self, late):
        self.now, self.late, self.looks = 0, late, 0

    def clock(self):
        self.now += 1000
        self.looks += 1
        return self.now

    def sleep(self, seconds):
        self.now += round(seconds * 1e9) + self.late


def run(machine, ticks=20):
    waker, errors = Waker(machine.clock, machine.sleep), []
    for _ in range(ticks):
        deadline = machine.now - machine.now % PERIOD + PERIOD
        waker.wait_until(deadline)
        errors.append(machine.now - deadline)
    return waker, errors


def test_after_two_late_wake_ups_the_deadline_is_met():
    waker, errors = run(Machine(late=450_000))
    assert errors[0] > 450_000
    assert max(errors[3:]) <= 2000 and min(errors) >= 0
    assert 450_000 <= waker.early_ns < 460_000


def test_a_machine_that_wakes_far_too_late_is_not_watched_for_longer_than_the_bound():
    machine = Machine(late=5_000_000)
    waker, errors = run(machine)
    assert waker.early_ns == LONGEST_WATCH_NS
    assert min(errors[3:]) >= 3_900_000 and machine.looks < 200


def test_one_accident_changes_nothing():
    machine = Machine(late=10_000)
    waker, _ = run(machine)
    machine.late = 900_000
    waker.wait_until(machine.now + PERIOD)
    machine.late = 10_000
    assert waker.early_ns < 30_000


def test_a_deadline_that_passed_is_not_waited_for():
    machine = Machine(late=0)
    machine.now = 10 * PERIOD
    Waker(machine.clock, machine.sleep).wait_until(PERIOD)
    assert machine.now < 10 * PERIOD + 10_000


def test_a_clock_that_is_set_back_while_watching_ends_the_wait():
    machine = Machine(late=-500_000)  # wakes early: the rest is watched

    def clock():
        machine.clock()
        if machine.looks == 10:
            machine.now -= 60 * 10**9
        assert machine.looks < 1000
        return machine.now
    Waker(clock, machine.sleep).wait_until(PERIOD)

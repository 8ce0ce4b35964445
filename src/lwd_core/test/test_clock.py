# SPDX-License-Identifier: Apache-2.0
import random

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from lwd_core.clock import NS_PER_S, period_ns, Tick, Ticker

PERIOD = 40_000_000


def run(*readings):
    ticker = Ticker(PERIOD)
    return ticker, [ticker.advance(round(reading * PERIOD)) for reading in readings]


@pytest.mark.parametrize(('readings', 'expected'), [
    ((5.0, 6.0, 7.0), [Tick(5), Tick(6), Tick(7)]),              # a simulated clock on the grid
    ((5.3, 6.1, 6.2, 7.0), [None, Tick(6), None, Tick(7)]),      # a wall clock: armed, then fires
    ((5.0, 9.5, 10.0), [Tick(5), Tick(9, 3), Tick(10)]),         # a stall: one tick, no burst
    ((5.0, 5.0), [Tick(5), None]),
    ((50.0, 0.0, 1.0), [Tick(50), Tick(0, reset=True), Tick(1)]),
    ((50.0, 3.5, 3.9, 4.1), [Tick(50), None, None, Tick(4)]),    # jump back off the grid: no fire
    ((5.0, 1e6, 1e6 + 1), [Tick(5), Tick(10**6, reset=True), Tick(10**6 + 1)]),
])
def test_ticks_of_clock_readings(readings, expected):
    _, ticks = run(*readings)
    assert ticks == [t and Tick(t.stamp_ns * PERIOD, t.missed, t.reset) for t in expected]


def test_missed_ticks_and_resets_are_counted():
    ticker, _ = run(5.0, 9.0, 2.0, 3.0)
    assert (ticker.missed, ticker.resets) == (3, 1)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.integers(0, 40 * NS_PER_S), max_size=60))
def test_any_clock_gives_at_most_one_tick_a_reading_never_the_same_twice_in_a_row(readings):
    ticker = Ticker(PERIOD)
    previous, now = None, None
    for reading in readings:
        if now is not None and reading < now:
            previous = None  # time starts anew
        tick = ticker.advance(reading)
        if tick is not None:
            assert tick.stamp_ns % PERIOD == 0 and 0 <= reading - tick.stamp_ns < PERIOD
            assert previous is None or tick.stamp_ns > previous
            previous = tick.stamp_ns
        now = reading


def test_period_of_a_rate():
    assert period_ns(25.0) == PERIOD
    with pytest.raises(ValueError, match='rate: 0.0 Hz'):
        period_ns(0.0)


@pytest.mark.parametrize('rate', [25.0, 29.97, 30.0, 50.0, 60.0, 100.0])
def test_ten_minutes_of_late_wake_ups_do_not_drift(rate):
    period, chance = period_ns(rate), random.Random(0)
    ticker, now = Ticker(period), 1_790_000_000 * NS_PER_S + 123
    ticker.advance(now)
    stamps = []
    for _ in range(round(600 * rate)):
        now = ticker.next_after(now) + chance.randrange(period // 2)  # woken late
        tick = ticker.advance(now)
        stamps.append(tick.stamp_ns)
        now += chance.randrange(period // 2)  # what the callback takes
    assert ticker.missed == 0 and {b - a for a, b in zip(stamps, stamps[1:])} == {period}
    # 1e9 / 30 is no whole number of nanoseconds: half of one a tick is all that is lost.
    lost = (stamps[-1] - stamps[0]) - (len(stamps) - 1) * NS_PER_S / rate
    assert abs(lost) <= len(stamps) / 2
    assert [stamp // period for stamp in stamps] == list(range(
        stamps[0] // period, stamps[0] // period + len(stamps)))

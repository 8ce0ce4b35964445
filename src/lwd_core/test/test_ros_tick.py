# SPDX-License-Identifier: Apache-2.0
"""The thread that ticks on wall time, with a clock that the test plays."""

import random
import threading
from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy')

from lwd_core import ros_tick
from lwd_core.clock import NS_PER_S, period_ns

PATIENCE_S = 120.0
SECONDS = 600  # played


class Played:
    """A node whose clock moves by what the thread sleeps, and a little more."""

    def __init__(self, monkeypatch, early=0):
        self.now, self.said = 1_790_000_000 * NS_PER_S + 123, []
        self._chance, self._early = random.Random(0), early
        monkeypatch.setattr(ros_tick, 'time', SimpleNamespace(sleep=self._sleep))

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=self.now))

    def get_logger(self):
        return SimpleNamespace(error=self.said.append)

    def _sleep(self, seconds):
        late = self._chance.randrange(-self._early, 2_000_000)
        self.now += max(1, round(seconds * NS_PER_S) + late)

    def ticks(self, period, callback=lambda tick: None, seconds=SECONDS):
        """Return the ticks of so many seconds."""
        ticks, made, end = [], threading.Event(), self.now + seconds * NS_PER_S

        def on_tick(tick):
            assert made.wait(PATIENCE_S)
            if self.now > end:
                source.stop()
                return
            ticks.append(tick)
            callback(tick)
        source = ros_tick.WallTickSource(self, period, on_tick)
        made.set()
        source._thread.join(PATIENCE_S)
        assert not source._thread.is_alive()
        return ticks


@pytest.mark.parametrize('rate', [25.0, 30.0, 50.0, 100.0])
@pytest.mark.parametrize('early', [0, 100_000])
def test_ten_minutes_have_every_tick_once_and_none_is_missed(monkeypatch, rate, early):
    period = period_ns(rate)
    played = Played(monkeypatch, early)
    first = played.now // period
    ticks = played.ticks(period)
    assert [tick.stamp_ns for tick in ticks] == [
        period * (first + 2 + index) for index in range(len(ticks))]
    assert abs(len(ticks) - SECONDS * rate) <= 2  # the first boundary only arms
    assert not any(tick.missed or tick.reset for tick in ticks)


def test_a_callback_that_takes_three_periods_misses_as_many_ticks_and_not_the_grid(monkeypatch):
    period, played = period_ns(30.0), Played(monkeypatch)

    def slow(tick):
        if tick.stamp_ns // period % 100 == 0:
            played.now += 3 * period
    ticks = played.ticks(period, slow, seconds=60)
    missed = {tick.stamp_ns // period % 100: tick.missed for tick in ticks if tick.missed}
    assert missed == {4: 3}
    assert all(tick.stamp_ns % period == 0 for tick in ticks)


def test_a_callback_that_raises_is_said_and_the_next_tick_comes(monkeypatch):
    played = Played(monkeypatch)

    def broken(tick):
        raise ValueError('no row')
    ticks = played.ticks(period_ns(30.0), broken, seconds=1)
    assert len(played.said) == len(ticks) >= 28 and 'ValueError: no row' in played.said[0]

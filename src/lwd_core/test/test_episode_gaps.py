# SPDX-License-Identifier: Apache-2.0
"""What is missing from a topic is counted from numbers, or from the rhythm of its stamps."""

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from lwd_core.episode.gaps import LossCounter, Rhythm

MS = 1_000_000


def beat(rhythm, stamps_ms):
    return [rhythm.add(round(stamp * MS)) for stamp in stamps_ms]


def test_a_hole_in_a_steady_rhythm_is_as_many_messages_as_fit():
    rhythm = Rhythm()
    assert not any(beat(rhythm, range(0, 1000, 40)))
    assert beat(rhythm, [1120]) == [3]
    assert rhythm.record() == {'gaps': 1, 'missing': 3, 'longest_gap_s': 0.16, 'out_of_order': 0}


def test_jitter_is_no_gap():
    rhythm = Rhythm()
    assert not any(beat(rhythm, [40 * i + (-1) ** i * 9 for i in range(100)]))


def test_nothing_is_missing_before_the_rhythm_is_known():
    assert not any(beat(Rhythm(), [0, 40, 400, 440, 900]))


def test_a_rate_that_changes_is_learned():
    rhythm = Rhythm()
    beat(rhythm, range(0, 400, 10))
    changed = beat(rhythm, range(400, 4000, 100))
    assert changed[1] and not any(changed[-10:])


def test_order_and_a_clock_set_back_are_noted_and_counted_as_no_gap():
    rhythm = Rhythm()
    beat(rhythm, range(0, 1000, 40))
    assert beat(rhythm, [900, 960 + 40]) == [0, 0] and rhythm.out_of_order == 1
    later = beat(rhythm, [i * 40 - 60_000 for i in range(20)])
    assert not any(later) and rhythm.gaps == 0


def test_equal_stamps_are_neither_gap_nor_disorder():
    rhythm = Rhythm()
    assert not any(beat(rhythm, [i // 2 * 40 for i in range(60)])) and rhythm.out_of_order == 0


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(1, 400), st.sets(st.integers(20, 380)), st.integers(0, 60 * 10**9))
def test_what_was_dropped_from_a_steady_stream_is_what_is_missing(period, dropped, start):
    rhythm = Rhythm()
    kept = [i for i in range(400) if i not in dropped]
    missing = sum(rhythm.add(start + i * period * MS) for i in kept)
    # Where most is dropped, what is left has another rhythm.
    if len(dropped) < 60:
        assert missing <= len(dropped)
    if all(i + 1 not in dropped for i in dropped) and len(dropped) < 20:
        assert missing == len(dropped)


def test_two_publishers_of_one_topic_are_told_apart():
    """Each arm of a dual-arm robot may publish its own joint_states."""
    losses = LossCounter()
    for number in range(100):
        assert losses.arrived('joints', 1 + number) == 0
        assert losses.arrived('joints', 5000 + number) == 0
    assert losses.arrived('joints', 103) == 2, 'lost by the first'
    assert losses.arrived('joints', 5105) == 5, 'and by the second'
    assert losses.take() == {'joints': 7} and losses.total == 7


def test_a_long_silence_of_one_publisher_is_a_loss_once_it_is_clear():
    losses = LossCounter()
    for number in range(1, 100):
        losses.arrived('joints', number)
    later = [losses.arrived('joints', 2000 + number) for number in range(100)]
    assert sum(later) == 2000 - 100 == losses.total and later[0] == 0


def test_a_publisher_that_starts_again_has_lost_nothing():
    losses = LossCounter()
    assert [losses.arrived('a', n) for n in (7, 8, 1, 2, 5)] == [0, 0, 0, 0, 2]


@pytest.mark.parametrize('numbers', [(None,) * 5, (3,) * 5])
def test_a_middleware_without_numbers_loses_nothing_by_them(numbers):
    losses = LossCounter()
    assert sum(losses.arrived('a', number) for number in numbers) == 0

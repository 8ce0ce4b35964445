# SPDX-License-Identifier: Apache-2.0
"""Messages reach the writer in the order they arrived, or are counted."""

import struct
import threading

import pytest

from lwd_logger.intake import Collector, Source
from lwd_logger.preroll import Received
from lwd_logger.pump import Pump


def source(topic, *arrivals):
    """Return a source holding one message per arrival stamp [ns]."""
    queue = [(bytes([n]), {'received_timestamp': at, 'source_timestamp': at - 5,
                           'publication_sequence_number': n + 1}) for n, at in enumerate(arrivals)]
    return Source(topic, lambda: queue.pop(0) if queue else None)


def clock(*readings):
    """Return a clock holding (arrival, simulated stamp) pairs."""
    queue = [(b'\x00\x01\x00\x00' + struct.pack('<iI', *divmod(sim, 10**9)),
              {'received_timestamp': at}) for at, sim in readings]
    return lambda: queue.pop(0) if queue else None


def test_a_batch_is_in_order_of_arrival_across_topics():
    collector = Collector([source('a', 100, 300), source('b', 200)])
    batch = collector.collect()
    assert [(m.topic, m.log_ns, m.publish_ns, m.sequence) for m in batch] == [
        ('a', 100, 95, 1), ('b', 200, 195, 1), ('a', 300, 295, 2)]
    assert collector.collect() == []


def test_a_source_that_fails_costs_the_others_nothing():
    broken = [True]

    def take():
        if broken.pop():
            raise OSError('gone')
        broken.append(False)

    collector = Collector([source('a', 100, 200), Source('b', take)])
    with pytest.raises(OSError, match='gone'):
        collector.collect()
    broken.append(False)
    assert [m.log_ns for m in collector.collect()] == [100, 200]


@pytest.mark.parametrize('sim', [False, True])
def test_what_arrives_while_a_batch_is_taken_never_overtakes_what_came_before(sim):
    began = iter([200, 300, 400])
    queues = {'sensor': [100], 'end': []}

    def take(topic, then=lambda: None):
        def inner():
            if queues[topic]:
                return b'x', {'received_timestamp': queues[topic].pop(0), 'source_timestamp': 0}
            return then()
        return Source(topic, inner)

    def others_run():  # the sensors are read: now the processor is somebody else's for a while
        queues['sensor'], queues['end'] = [210], [220]
        batch[0] = take('sensor')

    batch = [take('sensor', others_run)]
    collector = Collector([Source('sensor', lambda: batch[0].take()), take('end')],
                          clock() if sim else None, now=lambda: next(began))
    assert [m.topic for m in collector.collect()] == ['sensor']
    assert [m.topic for m in collector.collect()] == ['sensor', 'end']
    queues['end'] = [500]
    assert [m.topic for m in collector.collect(last=True)] == ['end']


def test_simulated_time_is_the_clock_that_arrived_before():
    collector = Collector([source('a', 100, 300, 500)], clock((200, 10**9 + 7), (400, 2 * 10**9)))
    batch = collector.collect()
    assert [m.log_ns for m in batch] == [0, 10**9 + 7, 2 * 10**9]
    assert [m.publish_ns for m in batch] == [m.log_ns for m in batch]


def test_a_slow_disk_drops_and_counts_and_never_blocks():
    handled, lost, gate = [], [], threading.Event()

    def handle(message):
        gate.wait(10)
        handled.append(message.data)

    pump = Pump(handle, lambda: None, lambda *item: lost.append(item), print, max_bytes=40)
    pump.put([Received('a', bytes(10), 0, 0, 0)] * 9)
    gate.set()
    pump.stop()
    assert len(handled) == 4 and sum(count for _, count in lost) == 5


def test_an_error_in_one_message_does_not_stop_the_next():
    handled, failed = [], []

    def handle(message):
        if message.topic == 'bad':
            raise ValueError('broken')
        handled.append(message.topic)

    pump = Pump(handle, lambda: None, lambda *_: None, failed.append, max_bytes=1000)
    pump.put([Received(topic, b'', 0, 0, 0) for topic in ('a', 'bad', 'b')])
    pump.stop()
    assert handled == ['a', 'b'] and 'broken' in str(failed[0])

# SPDX-License-Identifier: Apache-2.0
"""From a received message to the disk: the recorder's path, and the `mcap` writer alone."""

from __future__ import annotations

from dataclasses import dataclass, field
import os
from pathlib import Path
import threading
import time

from mcap.writer import CompressionType, Writer
import numpy as np

from lwd_core import topics
from lwd_core.episode.writer import EpisodeBagWriter
from lwd_core.topics import TopicSpec
from lwd_logger.preroll import Received
from lwd_logger.pump import Pump

_QUEUE = 256 << 20  # bytes
_BATCH = 8  # messages the intake finds at a time


@dataclass
class Limit:
    """One kind of message; rates are medians, [MB/s] and messages/s."""

    name: str
    ours: float = 0.0
    our_rate: float = 0.0
    peer: float = 0.0
    ratios: list[float] = field(default_factory=list)


def measure(folder: Path, rounds: int) -> list[Limit]:
    """Measure both for raw images and for joint states, in turn."""
    noise = np.random.default_rng(0)
    cases = ((Limit('raw images'), topics.camera_raw('head'), noise.bytes(921_660), 700),
             (Limit('joint states'), topics.JOINT_STATES, noise.bytes(500), 120_000))
    return [_measure(folder, limit, spec, data, count, rounds)
            for limit, spec, data, count in cases]


def _measure(folder: Path, limit: Limit, spec: TopicSpec, data: bytes, count: int,
             rounds: int) -> Limit:
    ours, peers = [], []
    for number in range(rounds):
        peers.append(_mcap(folder / 'peer.mcap', data, count))
        ours.append(_ours(folder / f'{spec.type.split("/")[-1]}{number}', spec, data, count))
    size = len(data) * count / 1e6
    own, peer = sorted(ours)[rounds // 2], sorted(peers)[rounds // 2]
    limit.ours, limit.our_rate, limit.peer = size / own, count / own, size / peer
    limit.ratios = [theirs / mine for mine, theirs in zip(ours, peers)]
    return limit


def _mcap(path: Path, data: bytes, count: int) -> float:
    """Return the seconds the mcap library needs, index and all, until it is durable."""
    began = time.perf_counter()
    with open(path, 'wb') as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start(profile='ros2', library='bench')
        schema = writer.register_schema('x', 'ros2msg', b'x')
        channel = writer.register_channel('/x', 'cdr', schema)
        for number in range(count):
            writer.add_message(channel, number, data, number, number)
        writer.finish()
        file.flush()
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    path.unlink()
    return took


def _ours(folder: Path, spec: TopicSpec, data: bytes, count: int) -> float:
    """Return the seconds from the queue to a durable bag with its digest and metadata.yaml."""
    began = time.perf_counter()
    writer = EpisodeBagWriter(folder, 'bench')
    writer.add_topic(spec, '/x')
    written = threading.Semaphore(0)

    def write(message: Received) -> None:
        writer.write('/x', message.data, message.log_ns, message.publish_ns, message.sequence)
        written.release()

    def lost(topic: str, number: int) -> None:
        raise AssertionError(f'{number} messages did not fit the queue')

    pump = Pump(write, lambda: None, lost, _fail, _QUEUE)
    ahead = max(_BATCH, _QUEUE // 8 // len(data))
    for number in range(0, count, _BATCH):
        if number >= ahead:  # as fast as it goes, and no faster: nothing may be lost
            for _ in range(_BATCH):
                written.acquire()
        pump.put([Received('x', data, number, number, number)] * _BATCH)
    pump.stop()
    writer.close()
    took = time.perf_counter() - began
    (folder / 'bench_0.mcap').unlink()
    return took


def _fail(error: Exception) -> None:
    raise error

# SPDX-License-Identifier: Apache-2.0
"""A robot's messages at their rates, from a process of its own; prints what it published.

Messages are serialised once and stamped anew, so that the load costs little beside the recorder.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, replace
import heapq
import itertools
import json
import struct
import time

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lwd_core import topics
from lwd_core.ros_qos import publisher, subscription
from lwd_core.topics import TopicSpec
from lwd_msgs.msg import EpisodeState, ExecutedAction, Outcome, RecorderStatus

JPEG_BYTES = 60_000
WIDTH, HEIGHT = 640, 480
_STAMP = struct.Struct('<iI')  # at byte 4 of every message that starts with a header
_WAIT = 60.0  # s
_DEPTH = 60  # messages a publisher of raw images keeps until they are acknowledged


@dataclass
class Stream:
    """One topic: its message, without its stamp, and how often it comes."""

    spec: TopicSpec
    data: bytearray
    period: float


def streams(options: argparse.Namespace) -> list[Stream]:
    """Return the load: JPEG or raw cameras, joints, commands and actions."""
    noise = np.random.default_rng(0)
    names = [f'joint{i}' for i in range(14)]
    joints = JointState(name=names, position=[0.1] * 14, velocity=[0.0] * 14)
    point = JointTrajectoryPoint(positions=[0.1] * 14)
    command = JointTrajectory(joint_names=names, points=[point])
    action = ExecutedAction(source=1, joint_names=names, requested=[0.1] * 14, sent=[0.1] * 14)
    found = [Stream(spec, bytearray(serialize_message(message)), 1 / options.joint_rate)
             for spec, message in ((topics.JOINT_STATES, joints), (topics.COMMAND, command),
                                   (topics.EXECUTED_ACTION, action))]
    for index in range(options.cameras):
        if options.raw:
            image = Image(width=WIDTH, height=HEIGHT, encoding='rgb8', step=3 * WIDTH)
            image.data.frombytes(noise.bytes(3 * WIDTH * HEIGHT))
            found.append(Stream(topics.camera_raw(f'camera{index}'),
                                bytearray(serialize_message(image)), 1 / options.rate))
        else:
            image = CompressedImage(format='jpeg')
            image.data.frombytes(noise.bytes(JPEG_BYTES))
            found.append(Stream(topics.camera(f'camera{index}'),
                                bytearray(serialize_message(image)), 1 / options.rate))
    return found


class Load(Node):
    """Publishes one episode of the load."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__('load', namespace='bench')
        self.status = RecorderStatus()
        self.streams = streams(options)
        # As deep as a driver's that means its images to arrive: a reliable publisher of depth 1
        # throws the last one away as soon as the next one comes.
        self.publishers_ = [
            publisher(self, replace(stream.spec, depth=_DEPTH) if options.raw else stream.spec)
            for stream in self.streams]
        self.episode = publisher(self, topics.EPISODE)
        subscription(self, topics.RECORDER_STATUS, self._on_status)

    def _on_status(self, message: RecorderStatus) -> None:
        self.status = message

    def phase(self, phase: int, outcome: int = 0) -> None:
        """Publish the episode's phase."""
        self.episode.publish(EpisodeState(
            episode_id='bench', task='bench', phase=phase, outcome=Outcome(value=outcome)))

    def spin_until(self, condition, what: str) -> None:
        """Let messages arrive until the condition holds; publish joints meanwhile."""
        end = time.monotonic() + _WAIT
        while not condition():
            rclpy.spin_once(self, timeout_sec=0.05)
            self.send(0)
            if time.monotonic() > end:
                raise SystemExit(f'{what}: not within {_WAIT} s')

    def send(self, index: int) -> None:
        """Publish the next message of a stream, stamped now."""
        stream = self.streams[index]
        now = time.time_ns()
        _STAMP.pack_into(stream.data, 4, now // 10**9, now % 10**9)
        self.publishers_[index].publish(bytes(stream.data))

    def run(self, seconds: float) -> dict[str, object]:
        """Publish for a while; return how many of each topic, and how late it got."""
        begin = time.monotonic()
        order = itertools.count()
        due = [(begin + i * 0.003, next(order), i) for i in range(len(self.streams))]
        heapq.heapify(due)
        sent: Counter[str] = Counter()
        latest = size = 0.0
        while due[0][0] < begin + seconds:
            moment, _, index = heapq.heappop(due)
            late = time.monotonic() - moment
            if late < 0:
                time.sleep(-late)
            latest = max(latest, late)
            self.send(index)
            stream = self.streams[index]
            sent[stream.spec.name] += 1
            size += len(stream.data)
            heapq.heappush(due, (moment + stream.period, next(order), index))
        took = time.monotonic() - begin
        return {'sent': dict(sent), 'seconds': took, 'latest': latest, 'MB/s': size / took / 1e6,
                'messages/s': sum(sent.values()) / took}


def main() -> None:
    """Wait for a line, publish, print a JSON line; a recorder that says RECORDING is waited for."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cameras', type=int, default=3)
    parser.add_argument('--raw', action='store_true')
    parser.add_argument('--rate', type=float, default=30.0)
    parser.add_argument('--joint-rate', type=float, default=100.0)
    parser.add_argument('--seconds', type=float, default=10.0)
    parser.add_argument('--no-status', action='store_true', help='the recorder is not ours')
    options = parser.parse_args()
    rclpy.init()
    load = Load(options)
    every = load.publishers_
    load.spin_until(lambda: all(p.get_subscription_count() for p in every), 'a recorder')
    load.phase(EpisodeState.READY)
    if not options.no_status:
        load.spin_until(lambda: load.status.state == RecorderStatus.RECORDING, 'RECORDING')
    load.phase(EpisodeState.RUNNING)
    time.sleep(0.5)
    print('begin', flush=True)
    result = load.run(options.seconds)
    print('end', flush=True)
    time.sleep(2.0)  # what is on its way arrives
    load.phase(EpisodeState.LABELLING)
    load.phase(EpisodeState.IDLE, Outcome.SUCCESS)
    if not options.no_status:
        load.spin_until(lambda: load.status.last_episode_id == 'bench', 'the bag')
    print(json.dumps({**result, 'known lost': int(load.status.lost_total)}), flush=True)
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""
Publish a recorded episode again, as its robot did: same topics, types, QoS and timing.

Topics keep the namespace they were recorded in unless `namespace` names another. A simulated
robot's messages are paced by their stamps and come with its clock. What moves a robot (`command`,
`policy/command`, `teleop/command`) is published only where `topics` names it, and nothing at all
into a namespace where other nodes live, unless `force` says so.
"""

from dataclasses import dataclass
from pathlib import Path
import sys
import threading
import time
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from lwd_bringup.replay import (
    bag_path,
    bag_topics,
    by_header,
    moved,
    open_bag,
    Recorded,
    recorded_clock,
    ReplayError,
    selected,
)
from lwd_core.params import param
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher
from lwd_core.ros_spin import EXPECTED, run
from lwd_core.ros_tick import to_stamp
from lwd_core.topics import TopicSpec

DISCOVERY_S = 1.5  # until others on this machine are known, and know of us
MATCHING_S = 5.0  # at most, until known subscriptions are matched
LATCHED_DEPTH, DEPTH = 1, 100  # a burst at a high rate must not overwrite itself


@dataclass(frozen=True)
class ReplayParams:
    """Parameters of the replay node."""

    bag: str = param('', 'episode folder or .mcap file')
    rate: float = param(1.0, 'speed; 1: as recorded', lower=0.01, upper=1000.0)
    start: float = param(0.0, 'offset into the recording', unit='s', lower=0.0)
    loop: bool = param(False, 'start again at the end')
    topics: tuple[str, ...] = param(('*',), 'topics to publish as recorded; *: all but commands')
    namespace: str = param('', 'namespace to publish into; empty: as recorded')
    timing: str = param(
        'auto', 'pace by the time of receiving, or by header stamps; auto: by stamps where the '
        'robot was simulated', choices=('auto', 'received', 'stamps'))
    force: bool = param(False, 'publish beside other nodes of the same namespace')
    keep: bool = param(False, 'stay at the end, so that latched topics stay readable')


class ReplayNode(Node):
    """A thread paces the messages; publishing serialized bytes costs no decoding."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('replay', **kwargs)
        self.params = params = declare(self, ReplayParams)
        self._path = bag_path(Path(params.bag))
        self._robot, clock = recorded_clock(self._path)
        self._by_header = params.timing == 'stamps' or (params.timing == 'auto' and clock == 'sim')
        self._outlets = self._make_publishers()
        self._time = None
        if self._by_header:
            namespace = params.namespace or self._robot
            self._time = self.create_publisher(
                Clock, f'/{namespace}/clock' if namespace else '/clock', 10)
        self.failed = ''
        self.done = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._play, name='replay', daemon=True)
        self._thread.start()

    def _make_publishers(self) -> dict[str, Any]:
        """Create every publisher before the first message: discovery takes its time."""
        made = {}
        for topic in bag_topics(self._path):
            if not selected(topic.name, self._robot, self.params.topics):
                continue
            name = moved(topic.name, self._robot, self.params.namespace)
            depth = LATCHED_DEPTH if topic.latched else DEPTH
            try:
                made[topic.name] = publisher(
                    self, TopicSpec(name, topic.type, depth, topic.reliable, topic.latched))
            except (ImportError, AttributeError) as error:
                self.get_logger().warning(f'{name} is left out: {topic.type} is not installed '
                                          f'here ({error})')
        if not made:
            raise ReplayError(f'{self._path}: no topic matches {", ".join(self.params.topics)}')
        return made

    def destroy_node(self) -> None:
        """Stop playing, then go."""
        self._stopping.set()
        self._thread.join()
        super().destroy_node()

    def _play(self) -> None:
        try:
            self._stopping.wait(DISCOVERY_S)
            self._refuse_company()
            self._await_listeners()
            while not self._stopping.is_set():
                count = self._play_once()
                self.get_logger().info(f'{count} messages of {self._path} published')
                if not self.params.loop:
                    break
            for one in self._outlets.values():
                one.wait_for_all_acked(Duration(seconds=2.0))
        except Exception as error:  # said here; a thread's traceback is nobody's error message
            self.failed = f'replay of {self._path} stopped: {error}'
            self.get_logger().error(self.failed)
        if self.failed or not self.params.keep:
            self.done.set()

    def _refuse_company(self) -> None:
        """Raise ReplayError where other nodes live in a namespace that would be written to."""
        if self.params.force:
            return
        ours = {moved(topic, self._robot, self.params.namespace).rsplit('/', 1)[0]
                for topic in self._outlets}
        roots = {'/' + name.split('/')[1] for name in ours if name}
        others = [f'{space.rstrip("/")}/{name}' for name, space in
                  self.get_node_names_and_namespaces()
                  if '/' + space.split('/')[1] in roots and space != '/'
                  and (name, space) != (self.get_name(), self.get_namespace())]
        if others:
            raise ReplayError(f'{", ".join(sorted(set(others))[:3])} are alive there: replay into '
                              'another --namespace, or --force')

    def _await_listeners(self) -> None:
        """Wait until whoever is known to listen will hear the first message."""
        end = time.monotonic() + MATCHING_S
        while time.monotonic() < end and any(
                one.get_subscription_count() < self.count_subscribers(one.topic_name)
                for one in self._outlets.values()):
            if self._stopping.wait(0.05):
                return

    def _play_once(self) -> int:
        messages = (message for message in open_bag(self._path)
                    if message.topic in self._outlets)
        if self._by_header:
            messages = by_header(messages)
        count, began, first, now = 0, time.monotonic(), None, 0
        before: dict[str, Recorded] = {}  # latched state from before `start` still holds
        for message in messages:
            first = message.stamp_ns if first is None and message.stamp_ns else first
            offset = (message.stamp_ns - (first or message.stamp_ns)) / 1e9 - self.params.start
            if offset < 0:
                if message.latched:
                    before[message.topic] = message
                continue
            for state in before.values():
                count += self._publish(state)
            before = {}
            if message.stamp_ns != now:  # after the samples of a tick comes its clock
                self._tell(now)
                now = message.stamp_ns
            due = began + offset / self.params.rate
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return count
            count += self._publish(message)
        self._tell(now)
        return count

    def _tell(self, now_ns: int) -> None:
        """Publish the time of stamps, where they are what paces."""
        if self._time is not None and now_ns:
            self._time.publish(Clock(clock=to_stamp(now_ns)))

    def _publish(self, message: Recorded) -> int:
        self._outlets[message.topic].publish(message.data)
        return 1


def build_node(**kwargs: Any) -> ReplayNode:
    """Return the node."""
    return ReplayNode(**kwargs)


def main(args: list[str] | None = None) -> None:
    """Publish a bag to its end or until Ctrl-C; exit 2 with one line on a bad parameter or bag."""
    node = run(build_node, args, expected=(*EXPECTED, ReplayError),
               done=lambda node: node.done.is_set())
    if node.failed:
        sys.exit(2)


if __name__ == '__main__':
    main()

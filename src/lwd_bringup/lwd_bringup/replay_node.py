# SPDX-License-Identifier: Apache-2.0
"""
Publish a recorded episode again, as its robot did: same topics, types, QoS and timing.

Topics keep the namespace they were recorded in, unless this node runs in another robot's.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
import sys
import threading
import time
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from lwd_bringup.replay import bag_path, open_bag, Recorded, ReplayError
from lwd_core.params import param, ParamError
from lwd_core.ros_params import declare
from lwd_core.ros_qos import interface_class


@dataclass(frozen=True)
class ReplayParams:
    """Parameters of the replay node."""

    bag: str = param('', 'episode folder or .mcap file')
    rate: float = param(1.0, 'speed; 1: as recorded', lower=0.01, upper=1000.0)
    start: float = param(0.0, 'offset into the recording', unit='s', lower=0.0)
    loop: bool = param(False, 'start again at the end')
    topics: tuple[str, ...] = param(('*',), 'topics to publish as recorded; *: all')


class ReplayNode(Node):
    """A thread paces the messages; publishing serialized bytes costs no decoding."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('replay', **kwargs)
        self.params = declare(self, ReplayParams)
        self._path = bag_path(Path(self.params.bag))
        self._publishers: dict[str, Any] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._play, name='replay', daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop playing, then go."""
        self._stopping.set()
        self._thread.join()
        super().destroy_node()

    def _play(self) -> None:
        try:
            while not self._stopping.is_set():
                count = self._play_once()
                self.get_logger().info(f'{count} messages of {self._path} published')
                if not self.params.loop:
                    return
        except Exception as error:  # said here; a thread's traceback is nobody's error message
            self.get_logger().error(f'replay of {self._path} stopped: {error}')

    def _play_once(self) -> int:
        count, began, first = 0, time.monotonic(), None
        for message in open_bag(self._path, self.params.topics):
            first = message.stamp_ns if first is None else first
            offset = (message.stamp_ns - first) / 1e9 - self.params.start
            if offset < 0 and not message.latched:  # latched state before `start` still holds
                continue
            due = began + max(offset, 0.0) / self.params.rate
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                break
            self._publish(message)
            count += 1
        return count

    def _publish(self, message: Recorded) -> None:
        if message.topic not in self._publishers:
            qos = QoSProfile(depth=10)
            qos.reliability = (ReliabilityPolicy.RELIABLE if message.reliable
                               else ReliabilityPolicy.BEST_EFFORT)
            if message.latched:
                qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
            self._publishers[message.topic] = self.create_publisher(
                interface_class(message.type), message.topic, qos)
        self._publishers[message.topic].publish(message.data)


def build_node(**kwargs: Any) -> ReplayNode:
    """Return the node."""
    return ReplayNode(**kwargs)


def main(args: list[str] | None = None) -> None:
    """Publish a bag until Ctrl-C; exit 2 with one line on a bad parameter or bag."""
    rclpy.init(args=args)
    try:
        node = build_node()
    except (ParamError, ReplayError) as error:
        print(error, file=sys.stderr)
        rclpy.try_shutdown()
        sys.exit(2)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()

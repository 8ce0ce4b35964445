# SPDX-License-Identifier: Apache-2.0
"""The robot's driver in a process of its own: joints and cameras out, commands in, timed.

Writes (monotonic ns at arrival, stamp ns) of every command to the file it is given when it ends.
"""

from __future__ import annotations

from pathlib import Path
import signal
import sys
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, JointState

from lwd_core import topics
from lwd_core.images import encode_jpeg
from lwd_core.priority import raise_process
from lwd_core.robot import RobotSpec
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_tick import make_tick_source, to_ns, to_stamp

NAMESPACE = 'bench'


class Driver(Node):
    """Follow every command perfectly; stream what the robot file says."""

    def __init__(self, robot: RobotSpec) -> None:
        super().__init__('driver', namespace=NAMESPACE)
        self.robot = robot
        self.arrivals: list[tuple[int, int]] = []
        self._positions = list(robot.home)
        self._joints = publisher(self, topics.JOINT_STATES)
        self._cameras = [publisher(self, topics.camera(name)) for name in robot.camera_names]
        noise = np.random.default_rng(0)
        self._images = [encode_jpeg(noise.integers(
            0, 255, (camera.height, camera.width, 3), np.uint8)) for camera in robot.cameras]
        subscription(self, topics.COMMAND, self._on_command)
        self.ticks = make_tick_source(self, robot.period_ns, self._on_tick)

    def _on_tick(self, tick: Any) -> None:
        stamp = to_stamp(tick.stamp_ns)
        joints = JointState(name=list(self.robot.joint_names), position=self._positions)
        joints.header.stamp = stamp
        self._joints.publish(joints)
        for camera, image in zip(self._cameras, self._images):
            message = CompressedImage(format='jpeg', data=image)
            message.header.stamp = stamp
            camera.publish(message)

    def _on_command(self, message: Any) -> None:
        self.arrivals.append((time.monotonic_ns(), to_ns(message.header.stamp)))
        self._positions = list(message.points[0].positions)


def main(robot_file: str, out: str) -> None:
    """Drive until SIGTERM, then write what arrived."""
    stop = [False]
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.__setitem__(0, True))
    node, executor = Driver(RobotSpec.from_yaml(robot_file)), SingleThreadedExecutor()
    executor.add_node(node)
    raise_process()
    while not stop[0]:
        executor.spin_once(timeout_sec=0.1)
    node.ticks.stop()
    np.save(Path(out), np.array(node.arrivals, np.int64).reshape(-1, 2))
    rclpy.try_shutdown()


if __name__ == '__main__':
    main(*sys.argv[1:])

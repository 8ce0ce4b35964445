# SPDX-License-Identifier: Apache-2.0
"""Cameras at 30 Hz, joints at 100 Hz, and one episode: python -m _rate.driver ROBOT.yaml.

Says 'running' once the policy drives.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, ShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, JointState

from lwd_core import topics
from lwd_core.clock import period_ns
from lwd_core.images import encode_jpeg
from lwd_core.robot import RobotSpec
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_tick import make_tick_source, to_stamp
from lwd_msgs.msg import ControlMode, EpisodeState, PolicyStatus

JOINT_RATE = 100.0
QUALITY = 85


class Driver(Node):
    """Streams what a robot streams; starts an episode as soon as the policy is ready."""

    def __init__(self, robot: RobotSpec) -> None:
        super().__init__('driver', namespace='bench')
        self.robot, self.phase, self.drives = robot, EpisodeState.IDLE, False
        self._joints = publisher(self, topics.JOINT_STATES)
        self._episode = publisher(self, topics.EPISODE)
        self._cameras = {camera.name: (publisher(self, topics.camera(camera.name)), picture(
            camera.height, camera.width)) for camera in robot.cameras}
        subscription(self, topics.POLICY_STATUS, self._on_status)
        subscription(self, topics.CONTROL_MODE, self._on_mode)
        self.sources = [
            make_tick_source(self, period_ns(JOINT_RATE), self._on_joint_tick),
            make_tick_source(self, period_ns(robot.cameras[0].rate), self._on_camera_tick)]

    def _on_joint_tick(self, tick: Any) -> None:
        message = JointState(name=list(self.robot.joint_names), position=list(self.robot.home))
        message.header.stamp = to_stamp(tick.stamp_ns)
        self._joints.publish(message)

    def _on_camera_tick(self, tick: Any) -> None:
        for camera, data in self._cameras.values():
            message = CompressedImage(format='jpeg', data=data)
            message.header.stamp = to_stamp(tick.stamp_ns)
            camera.publish(message)

    def _on_status(self, message: PolicyStatus) -> None:
        if message.state == PolicyStatus.READY and self.phase == EpisodeState.IDLE:
            self.enter(EpisodeState.READY)
            time.sleep(2.0)  # the recorder opens its file
            self.enter(EpisodeState.RUNNING)

    def _on_mode(self, message: ControlMode) -> None:
        if message.mode == ControlMode.POLICY and not self.drives:
            self.drives = True
            print('running', flush=True)

    def enter(self, phase: int) -> None:
        """Publish the episode's phase."""
        self.phase = phase
        self._episode.publish(EpisodeState(
            episode_id='bench', robot='bench', task='bench', instruction='hold still', phase=phase,
            start_mode=EpisodeState.MODE_POLICY))


def picture(height: int, width: int) -> bytes:
    """Return a JPEG of some 60 KB at 640 x 480: smooth shapes and a little noise."""
    y, x = np.mgrid[:height, :width]
    base = 127 + 60 * np.sin(x / 23.0) + 60 * np.cos(y / 17.0)
    noise = np.random.default_rng(0).normal(0, 9, (height, width, 3))
    return encode_jpeg(np.clip(base[..., None] + noise, 0, 255).astype(np.uint8), QUALITY)


def main(robot_file: str) -> None:
    """Run until SIGTERM."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Driver(RobotSpec.from_yaml(robot_file))

    def stop(*_: Any) -> None:
        for source in node.sources:  # first: nothing is published on a context that is gone
            source.stop()
        rclpy.try_shutdown()
    signal.signal(signal.SIGTERM, stop)
    try:
        rclpy.spin(node)
    except (ExternalShutdownException, ShutdownException):
        pass


if __name__ == '__main__':
    main(sys.argv[1])

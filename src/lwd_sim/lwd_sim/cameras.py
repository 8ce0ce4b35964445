# SPDX-License-Identifier: Apache-2.0
"""ROS adapter of the cameras: renders the World and publishes JPEG images."""
from collections import deque
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage

from lwd_core import topics
from lwd_core.robot import RobotSpec
from lwd_core.ros_qos import publisher
from lwd_sim.names import CAMERAS
from lwd_sim.rendering import CameraRenderer
from lwd_sim.world import World


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """Return the JPEG of an RGB image uint8 [H, W, 3]."""
    ok, data = cv2.imencode('.jpg', image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError(f'could not encode an image of shape {image.shape} as JPEG')
    return bytes(data)


class CameraPublisher:
    """Publishes one image per camera of the robot file, `latency` ticks late."""

    def __init__(self, node: Node, robot: RobotSpec, latency: int, quality: int,
                 known: tuple[str, ...] = CAMERAS) -> None:
        robot_cameras = {camera.name: camera for camera in robot.cameras}
        unknown = [name for name in robot_cameras if name not in known]
        if unknown:
            raise ValueError(f'robot {robot.name!r}: the simulation has no camera {unknown[0]!r}; '
                             f'it has {", ".join(known)}')
        sizes = {(camera.width, camera.height) for camera in robot.cameras}
        if len(sizes) != 1:
            raise ValueError(f'robot {robot.name!r}: the simulation renders all cameras in one '
                             f'size, the file has {sorted(sizes)}')
        self._names = tuple(robot_cameras)
        self._renderer = CameraRenderer(*sizes.pop())
        self._publishers = {name: publisher(node, topics.camera(name)) for name in self._names}
        self._latency, self._quality = latency, quality
        self._queue: deque[list[CompressedImage]] = deque()

    def publish(self, world: World, stamp: Any) -> None:
        """Render now; publish what is old enough."""
        images = self._renderer.render(world, self._names)
        self._queue.append([self._message(name, images[name], stamp) for name in self._names])
        if len(self._queue) > self._latency:
            for name, message in zip(self._names, self._queue.popleft()):
                self._publishers[name].publish(message)

    def _message(self, name: str, image: np.ndarray, stamp: Any) -> CompressedImage:
        message = CompressedImage(format='jpeg', data=encode_jpeg(image, self._quality))
        message.header.stamp, message.header.frame_id = stamp, name
        return message

    def close(self) -> None:
        """Free the graphics context."""
        self._renderer.close()

# SPDX-License-Identifier: Apache-2.0
"""A person's view of the simulated cell: renders sim/state for who drives it by hand.

What policies see are the robot file's small cameras; this is a larger picture from behind the
robot, made beside the simulation so that it costs no tick.
"""
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage

from lwd_core import topics
from lwd_core.params import param
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_spin import run
from lwd_sim.cameras import encode_jpeg
from lwd_sim.world import World

VIEW = topics.TopicSpec('view/image/compressed', 'sensor_msgs/msg/CompressedImage', 1,
                        reliable=False)


@dataclass(frozen=True)
class ViewParams:
    """Parameters of the view; angles in degrees, as MuJoCo's free camera has them."""

    rate: float = param(20.0, 'pictures per wall second at most', unit='Hz', lower=1.0, upper=60.0)
    width: int = param(640, 'of the picture', unit='px', lower=64, upper=640)
    height: int = param(480, 'of the picture', unit='px', lower=64, upper=480)
    azimuth: float = param(90.0, 'direction of view; 90: over the robot, away from it',
                           unit='deg', lower=-180.0, upper=180.0)
    elevation: float = param(-38.0, 'direction of view; below the horizon is negative',
                             unit='deg', lower=-90.0, upper=0.0)
    distance: float = param(1.35, 'from the middle of the table', unit='m', lower=0.2, upper=5.0)
    jpeg_quality: int = param(80, 'of the picture', lower=1, upper=100)


class ViewNode(Node):
    """Keeps the newest state, renders it at its own rate."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare and connect; the renderer is made with the first state."""
        super().__init__('view', **kwargs)
        p = self.params = declare(self, ViewParams)
        self._worlds: dict[str, tuple[World, mujoco.Renderer]] = {}
        self._newest: Any = None
        self._camera = mujoco.MjvCamera()
        self._camera.azimuth, self._camera.elevation = p.azimuth, p.elevation
        self._camera.distance, self._camera.lookat = p.distance, np.array([0.0, 0.32, 0.08])
        self._image = publisher(self, VIEW)
        subscription(self, topics.SIM_STATE, self._on_state)
        self.create_timer(1.0 / p.rate, self._on_time,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_state(self, message: Any) -> None:
        self._newest = message

    def _on_time(self) -> None:
        state, self._newest = self._newest, None
        if state is not None and self._image.get_subscription_count() > 0:
            self._image.publish(self._picture(state))

    def _picture(self, state: Any) -> CompressedImage:
        world, renderer = self._world(state.task)
        world.set_state(np.array(state.qpos), np.array(state.qvel), np.array(state.ctrl))
        renderer.update_scene(world.data, camera=self._camera)
        data = encode_jpeg(renderer.render(), self.params.jpeg_quality)
        message = CompressedImage(format='jpeg', data=data)
        message.header.stamp, message.header.frame_id = state.header.stamp, 'view'
        return message

    def _world(self, task: str) -> tuple[World, mujoco.Renderer]:
        if task not in self._worlds:
            world = World(task)
            renderer = mujoco.Renderer(world.model, self.params.height, self.params.width)
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
            self._worlds[task] = world, renderer
        return self._worlds[task]

    def destroy_node(self) -> None:
        """Free the graphics contexts first."""
        for _, renderer in self._worlds.values():
            renderer.close()
        super().destroy_node()


def build_node(**kwargs: Any) -> ViewNode:
    """Return the node, for composition and tests."""
    return ViewNode(**kwargs)


def main(args: list[str] | None = None) -> None:
    """Render until asked to stop."""
    run(build_node, args)


if __name__ == '__main__':
    main()

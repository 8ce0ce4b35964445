# SPDX-License-Identifier: Apache-2.0
"""Camera images of a World by EGL (with or without a GPU); one renderer, made on first use."""
import mujoco
import numpy as np

from lwd_sim.names import CAMERAS
from lwd_sim.world import World

IMAGE_SIZE = 96   # px


class CameraRenderer:
    """Renders the cell's cameras; close it to free the graphics context."""

    def __init__(self, width: int = IMAGE_SIZE, height: int = IMAGE_SIZE) -> None:
        self.width, self.height = width, height
        self._renderers: dict[mujoco.MjModel, mujoco.Renderer] = {}

    def render(self, world: World, cameras: tuple[str, ...] = CAMERAS) -> dict[str, np.ndarray]:
        """Return RGB images uint8 [H, W, 3] by camera name."""
        renderer = self._renderer_for(world)
        images = {}
        for camera in cameras:
            renderer.update_scene(world.data, camera=camera)
            images[camera] = renderer.render().copy()
        return images

    def _renderer_for(self, world: World):
        # Keyed by the model itself, not its id: a live key cannot be another model's.
        if world.model not in self._renderers:
            renderer = mujoco.Renderer(world.model, self.height, self.width)
            flags = renderer.scene.flags
            flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
            self._renderers[world.model] = renderer
        return self._renderers[world.model]

    def close(self) -> None:
        """Free the graphics contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

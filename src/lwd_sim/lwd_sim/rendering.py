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
        self._renderer = None
        self._model = None

    def render(self, world: World, cameras: tuple[str, ...] = CAMERAS) -> dict[str, np.ndarray]:
        """Return RGB images uint8 [H, W, 3] by camera name."""
        renderer = self._renderer_for(world)
        images = {}
        for camera in cameras:
            renderer.update_scene(world.data, camera=camera)
            images[camera] = renderer.render().copy()
        return images

    def _renderer_for(self, world: World):
        if self._model is not world.model:
            self.close()
            renderer = mujoco.Renderer(world.model, self.height, self.width)
            flags = renderer.scene.flags
            flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
            self._renderer, self._model = renderer, world.model
        return self._renderer

    def close(self) -> None:
        """Free the graphics context."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = self._model = None

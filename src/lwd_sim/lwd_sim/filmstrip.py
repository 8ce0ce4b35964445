# SPDX-License-Identifier: Apache-2.0
"""Rollouts as pictures: one row of frames an episode, seen by the head camera or from aside.

python -m lwd_sim.filmstrip --tasks suite --out docs/images/suite.png
"""
import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import mujoco
import numpy as np

from lwd_sim.expert import Expert
from lwd_sim.suite import SUITE
from lwd_sim.tasks import get_task
from lwd_sim.world import World

WIDTH, HEIGHT = 256, 192     # px of a frame
VIEWS = ('aside', 'head', 'left_wrist', 'right_wrist')
FIRST_SEED = 1_000_000


def aside() -> mujoco.MjvCamera:
    """Return a camera that looks at the robot from above the shelf."""
    camera = mujoco.MjvCamera()
    camera.lookat[:] = (0.0, 0.33, 0.06)
    camera.distance, camera.azimuth, camera.elevation = 1.05, 270.0, -52.0
    return camera


class Filmer:
    """Renders frames of worlds; close it to free the graphics contexts."""

    def __init__(self, view: str = 'aside', width: int = WIDTH, height: int = HEIGHT) -> None:
        if view not in VIEWS:
            raise ValueError(f'view: is {view!r}, must be one of {", ".join(VIEWS)}')
        self._camera = aside() if view == 'aside' else view
        self._size = height, width
        self._renderers: dict[mujoco.MjModel, mujoco.Renderer] = {}

    def frame(self, world: World, caption: str = '') -> np.ndarray:
        """Return one picture, uint8 [H, W, 3] RGB."""
        if world.model not in self._renderers:
            self._renderers[world.model] = mujoco.Renderer(world.model, *self._size)
        renderer = self._renderers[world.model]
        renderer.update_scene(world.data, camera=self._camera)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            renderer.scene.flags[flag] = 0
        image = renderer.render().copy()
        if caption:
            for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
                cv2.putText(image, caption, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, width,
                            cv2.LINE_AA)
        return image

    def close(self) -> None:
        """Free the graphics contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()


def strip(filmer: Filmer, world: World, seed: int, act: Callable[[World], np.ndarray],
          frames: int = 6, limit: int | None = None) -> np.ndarray:
    """Return `frames` pictures of one episode, evenly spaced, side by side: [H, frames W, 3]."""
    world.reset(seed)
    states = [world.state()]
    for _ in range(limit or world.task.time_limit):
        success = world.step(act(world))
        states.append(world.state())
        if success:
            break
    chosen = np.linspace(0, len(states) - 1, frames).round().astype(int)
    pictures = []
    for index in chosen:
        world.set_state(*states[index])
        pictures.append(filmer.frame(world, f'{world.task.name} {index / 25:.1f} s'))
    return np.concatenate(pictures, axis=1)


def save(path: Path, image: np.ndarray) -> None:
    """Write an RGB picture as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image[:, :, ::-1]):
        raise OSError(f'{path}: could not be written')


def main() -> None:
    """Film the expert on the chosen tasks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--tasks', default='suite', help="comma separated, or 'suite'")
    parser.add_argument('--seed', type=int, default=FIRST_SEED)
    parser.add_argument('--frames', type=int, default=6)
    parser.add_argument('--limit', type=int, help='control steps at most')
    parser.add_argument('--view', choices=VIEWS, default='aside')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    names = list(SUITE) if args.tasks == 'suite' else args.tasks.split(',')
    filmer = Filmer(args.view)
    rows = [strip(filmer, World(get_task(name)), args.seed, Expert(name).act, args.frames,
                  args.limit) for name in names]
    filmer.close()
    save(args.out, np.concatenate(rows))


if __name__ == '__main__':
    main()

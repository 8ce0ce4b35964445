# SPDX-License-Identifier: Apache-2.0
"""Frames to pretrain a vision trunk on: what the cameras see and what the state then was.

The cell is driven by the expert with noise, with bursts of wrong motion and with jaws that open
at random, so that the trunk knows failures and not only demonstrations.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lwd_sim.collect import ARM_MASK
from lwd_sim.expert import Expert
from lwd_sim.features import STATE_NAMES, state_vector
from lwd_sim.names import ARMS, CAMERAS, jaw_index
from lwd_sim.rendering import CameraRenderer, IMAGE_SIZE
from lwd_sim.tasks import TASKS
from lwd_sim.world import World

PRETRAIN_SEED = 2_000_000     # away from demonstrations, online and held-out starts
KEEP = 0.25                   # share of ticks that become frames: neighbours are nearly equal
BURST_LENGTH = (5, 25)        # ticks of wrong motion
BURST_SPREAD = 0.08           # rad
LOST_BELOW = -0.02            # m: an item below the table has left the cell
JPEG_QUALITY = 90             # as the camera driver compresses


@dataclass(frozen=True)
class Frames:
    """images uint8 [N, cameras, S, S, 3] RGB; joints float32 [N, 14]; state float32 [N, F]."""

    images: npt.NDArray[np.uint8]
    joints: npt.NDArray[np.float32]
    state: npt.NDArray[np.float32]


def collect_frames(count: int, seed: int = 0, tasks: Sequence[str] = tuple(TASKS)) -> Frames:
    """Return about `count` frames, equally many from each of the tasks."""
    rng = np.random.default_rng(seed)
    rows: list[tuple] = []
    for index, task in enumerate(tasks):
        target = count * (index + 1) // len(tasks)
        renderer, first = CameraRenderer(), PRETRAIN_SEED + index * 100_000
        for episode in range(first, first + 100_000):
            rows += _episode(World(task), episode, rng, renderer)
            if len(rows) >= target:
                break
        renderer.close()
    images, joints, state = zip(*rows)
    return Frames(np.stack(images), np.array(joints, np.float32), np.stack(state))


def _episode(world: World, seed: int, rng: np.random.Generator,
             renderer: CameraRenderer) -> list[tuple]:
    world.reset(seed)
    rows = []
    height = STATE_NAMES.index('item/z')
    for action in _actions(world, rng):
        if rng.random() < KEEP:
            state = state_vector(world)
            if state[height] < LOST_BELOW:
                break
            rows.append((_images(world, renderer), world.joints(), state))
        if world.step(action):
            break
    return rows


def _actions(world: World, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the expert's actions with noise; now and then a burst of wrong ones."""
    expert = Expert(world.task)
    noise, rate = rng.choice([.005, .01, .02, .05]), rng.choice([0., .02, .05])
    left, offset, jaws = 0, np.zeros(14), False
    for _ in range(world.task.time_limit):
        if left == 0 and rng.random() < rate:
            left = int(rng.integers(*BURST_LENGTH))
            offset = BURST_SPREAD * ARM_MASK * rng.standard_normal(14)
            jaws = rng.random() < 0.3
        action = expert.act(world) + noise * ARM_MASK * rng.standard_normal(14)
        if left > 0:
            left -= 1
            action = action + offset * rng.random()
            if jaws:
                action[[jaw_index(arm) for arm in ARMS]] = rng.random(len(ARMS))
        yield action


def _images(world: World, renderer: CameraRenderer) -> npt.NDArray[np.uint8]:
    """Return the images as a policy gets them: through JPEG."""
    out = np.empty((len(CAMERAS), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    rendered = renderer.render(world)
    for index, camera in enumerate(CAMERAS):
        bgr = cv2.cvtColor(rendered[camera], cv2.COLOR_RGB2BGR)
        data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        out[index] = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return out

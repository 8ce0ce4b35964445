# SPDX-License-Identifier: Apache-2.0
"""Small recorded episodes for the tests of exports and imports."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from lwd_core.episode.definitions import Definitions
from lwd_core.episode.synthetic import Recipe, write_episode
from lwd_core.robot import RobotSpec

ROOT = Path(__file__).resolve().parents[3]
ROBOT_FILE = ROOT / 'config/robots/sim.yaml'
ROBOT = RobotSpec.from_yaml(ROBOT_FILE)


@cache
def definitions():
    return Definitions([ROOT / 'src/lwd_msgs'])


def picture(camera, tick):
    """A grey ramp whose level tells camera and tick."""
    image = np.full((96, 96, 3), 30 + 10 * ROBOT.camera_names.index(camera) + 2 * (tick % 60),
                    np.uint8)
    image[:, :48] += 20
    return image


def jpeg(camera, tick):
    return cv2.imencode('.jpg', picture(camera, tick), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def record(store, name, robot=ROBOT, date='2026-01-01', **recipe):
    """Write one episode into a store folder; return its folder."""
    folder = store / f'episodes/{robot.name}/{date}' / name
    write_episode(folder, robot, Recipe(**{
        'id': name, 'ticks': 30, 'jpeg': jpeg, 'recorded_at': f'{date}T10:00:00+00:00', **recipe}),
        definitions())
    return folder

# SPDX-License-Identifier: Apache-2.0
"""Three episodes to learn from, a learner that is done at once, and the commands that use them."""

import cv2
from exchange_fixtures import definitions, ROBOT
import numpy as np
from typer.testing import CliRunner
import yaml

from lwd_bringup.cli.main import app
from lwd_core.episode.synthetic import Recipe, write_episode

TINY = {
    'policy': {'horizon': 12, 'hidden': 16, 'layers': 1},
    'sft': {'steps': 2, 'batch': 8}, 'learning': {'batch': 8, 'offline_steps': 2},
    'agent': {'critic': {'hidden': 16, 'layers': 1, 'chunk': 'flat'}},
}


def jpeg(camera, tick):
    return cv2.imencode('.jpg', np.full((24, 32, 3), 5 * tick % 255, np.uint8))[1].tobytes()


EPISODES = (Recipe('demo', ticks=30, human=(0, 30)), Recipe('fail', ticks=30, outcome='failure'),
            Recipe('helped', ticks=40, human=(16, 24), jpeg=jpeg))


def write_episodes(folder):
    """Write EPISODES; return their folders."""
    for recipe in EPISODES:
        write_episode(folder / recipe.id, ROBOT, recipe, definitions())
    return [folder / recipe.id for recipe in EPISODES]


def write_config(folder):
    """Write TINY as a file; return its path."""
    (folder / 'tiny.yaml').write_text(yaml.safe_dump(TINY))
    return folder / 'tiny.yaml'


def run(*words):
    """Return what a command prints; its error is raised."""
    result = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output

# SPDX-License-Identifier: Apache-2.0
"""Stores with recorded bags, for tests that go the whole way from a bag."""

from functools import cache
from pathlib import Path

from lwd_core.episode.definitions import Definitions
from lwd_core.episode.synthetic import Recipe, write_episode
from lwd_core.robot import RobotSpec

ROOT = Path(__file__).resolve().parents[3]
ROBOT_FILE = ROOT / 'config/robots/sim.yaml'
TASKS_FILE = ROOT / 'config/tasks/sim.yaml'
ROBOT = RobotSpec.from_yaml(ROBOT_FILE)
LATER = '2099-01-01T00:00:00+00:00'  # recorded after any online phase began
CONFIG = {  # small enough for tests
    'policy': {'horizon': 8, 'hidden': 16, 'layers': 1, 'instruction_dim': 4},
    'sft': {'steps': 10, 'batch': 32}, 'dagger': {'steps': 5, 'batch': 32},
    'learning': {'batch': 16, 'imitation_batch': 8, 'metrics_every': 2},
    'publish': {'every_steps': 3},
    'agent': {'critic': {'hidden': 16, 'layers': 1, 'token': 8, 'queries': 1}},
}


@cache
def definitions() -> Definitions:
    """Return the message definitions, read once."""
    return Definitions([ROOT / 'src/lwd_msgs'])


def record_into(store: Path, name: str, **recipe) -> None:
    """Write one bag of 30 ticks into a store; `recipe` as in lwd_core's synthetic episodes."""
    folder = store / 'episodes/robot1/2026-01-01' / name
    write_episode(folder, ROBOT, Recipe(id=name, **{'ticks': 30, **recipe}), definitions())

# SPDX-License-Identifier: Apache-2.0
"""Jobs: behaviour cloning of the demonstrations (SFT), and HG-DAgger on every bag."""

from functools import partial
import logging
from pathlib import Path
from typing import Any

import torch

from lwd_bringup.demo.worker import say
from lwd_bringup.paths import config_dir
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore
from lwd_core.task import load_tasks
from lwd_learner.config import LearnerConfig
from lwd_learner.trainer import train_dagger, train_sft, Workspace
from lwd_learner.trunk import make_trunk


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Train for so many steps, or seconds if those end first; return the checkpoint."""
    logging.basicConfig(level=logging.INFO, format='%(levelname)s %(message)s')
    torch.set_num_threads(settings['threads'])
    workspace = open_workspace(settings)
    budget = {key: settings[key] for key in ('steps', 'seconds')}
    if settings['job'] == 'sft':
        ref = train_sft(workspace, **budget)
    else:
        # DAgger is trained on the same bags as the final policy, but nobody deploys it.
        ref = train_dagger(workspace, settings.get('initial'), **budget)
    return {'digest': ref.digest, 'step': ref.step, 'uri': ref.uri}


def _report(name: str, fraction: float, detail: str) -> None:
    say(name, f'{fraction:.0%} {detail}')


def open_workspace(settings: dict[str, Any]) -> Workspace:
    """Return the learner's workspace over the demonstration's store."""
    tasks = load_tasks(config_dir() / 'tasks' / 'sim.yaml')
    return Workspace(
        FolderStore(settings['store']), Path(settings['learner_dir']),
        RobotSpec.from_yaml(config_dir() / 'robots' / 'sim.yaml'),
        {name: tasks[name] for name in settings['tasks']},
        observation=settings['observation'],
        config=LearnerConfig.from_yaml(settings['learner_config']),
        trunk=make_trunk(settings['observation'],
                         config_dir() / 'robots' / 'sim.yaml'), seed=settings['seed'],
        report=partial(_report, settings['job']),
    )

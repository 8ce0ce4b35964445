# SPDX-License-Identifier: Apache-2.0
"""The learner that never stops, without ROS: robots and learner meet in the store only."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
import time

import torch

from lwd_bringup.offline import learner_config_of, Options
from lwd_bringup.paths import config_dir
from lwd_core.robot import RobotSpec
from lwd_core.store import open_store
from lwd_core.task import load_tasks
from lwd_learner.config import LearnerConfig
from lwd_learner.online import FAULT
from lwd_learner.session import LearnerSession, SessionSettings
from lwd_learner.status import Status
from lwd_learner.trainer import Workspace
from lwd_learner.trunk import make_trunk

Tell = Callable[[Status, int], None]  # the status, and how many episodes were refused
IDLE_SECONDS = 0.2


@dataclass(frozen=True)
class Deployment:
    """What to learn for, and from which checkpoint."""

    observation: str = 'state'
    robot_file: str = ''
    tasks_file: str = ''
    initial: str = ''
    bootstrap: int = 0


def train_online(store: str, work_dir: Path, options: Options, deployment: Deployment,
                 tell: Tell, stop: Callable[[], bool]) -> Status:
    """
    Learn from what the store has and gets, and publish, until `stop`, the budget or a fault.

    `options.steps` and `options.seconds` bound this run, 0: no bound. Returns the last status;
    what was learned is published and the state saved, so that the next run goes on.
    """
    torch.set_num_threads(options.threads)
    robot_path = deployment.robot_file or config_dir() / 'robots' / 'sim.yaml'
    workspace = Workspace(
        open_store(store), work_dir, RobotSpec.from_yaml(robot_path),
        load_tasks(deployment.tasks_file or config_dir() / 'tasks' / 'sim.yaml'),
        deployment.observation,
        LearnerConfig.from_yaml(options.config or learner_config_of(store)),
        make_trunk(deployment.observation, robot_path), options.seed)
    session = LearnerSession(workspace, SessionSettings(deployment.initial, deployment.bootstrap))
    began, first = time.monotonic(), None
    try:
        while not stop():
            learned = session.turn()
            if session.learner is not None:
                first = session.learner.step_count - learned if first is None else first
                done = session.learner.step_count - first
                if options.steps and done >= options.steps:
                    break
            tell(session.status, session.rejected)
            if session.status.phase == FAULT:
                break
            if options.seconds and time.monotonic() - began >= options.seconds:
                break
            if not learned:
                time.sleep(IDLE_SECONDS)
    finally:
        session.close()
    return session.status

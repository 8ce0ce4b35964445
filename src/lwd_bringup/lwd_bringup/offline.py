# SPDX-License-Identifier: Apache-2.0
"""Train without ROS: from arrays in an .npz, or from a store of recorded episodes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lwd_bringup.paths import config_dir
from lwd_core.checkpoint import CheckpointRef, read_channel
from lwd_core.robot import RobotSpec
from lwd_core.spec import load_yaml
from lwd_core.store import is_bucket, open_store
from lwd_core.task import load_tasks
from lwd_learner import arrays
from lwd_learner.budget import progress_bar
from lwd_learner.config import LearnerConfig
from lwd_learner.trainer import train_offline, train_sft, Workspace
from lwd_learner.trunk import make_trunk


@dataclass(frozen=True)
class Options:
    """What both ways have in common; 0 keeps the configured budget."""

    config: Path | None = None
    steps: int = 0
    seconds: float = 0.0
    seed: int = 0
    threads: int = 1
    progress: bool = False


def train_npz(path: Path, out: Path, options: Options, *, horizon: int = 0, gamma: float = 0.0,
              returns: tuple[float, float] | None = None) -> arrays.Trained:
    """Learn from an .npz and leave checkpoint and critic in `out`, a store of its own."""
    torch.set_num_threads(options.threads)
    if (out / 'episodes').is_dir():
        raise ValueError(f"{out} holds a robot's episodes: give --out another folder, or the "
                         'robots would load a policy that is not theirs')
    data = arrays.load_npz(path)
    config = _npz_config(options, horizon, gamma)
    mapping = arrays.ValueMapping(*returns) if returns else None
    with progress_bar('offline', options.progress) as bar:
        trained = arrays.train(data, config, options.seed, mapping, bar)
    trained.save(out)
    return trained


def _npz_config(options: Options, horizon: int, gamma: float) -> LearnerConfig:
    config = arrays.default_config(load_yaml(options.config) if options.config else None)
    if horizon:
        config = config.override(policy={'horizon': horizon})
    if gamma:
        config = config.override(replay={'gamma': gamma})
    if options.steps:
        config = config.override(learning={'offline_steps': options.steps},
                                 sft={'steps': options.steps})
    if options.seconds:  # cloning is the smaller part
        config = config.override(sft={'seconds': options.seconds * 0.3},
                                 learning={'offline_seconds': options.seconds * 0.7})
    return config


def train_store(data: str, work_dir: Path, options: Options, *, initial: str = '',
                channel: str = '', observation: str = 'state', robot_file: str = '',
                tasks_file: str = '') -> tuple[CheckpointRef, CheckpointRef | str]:
    """
    Run the offline phase on a store, a folder or a bucket; return (new checkpoint, the one it
    began with).

    It begins with `initial`, else with the stable checkpoint, else with a clone of the
    demonstrations. The critic is left in `<work_dir>/offline`.
    """
    torch.set_num_threads(options.threads)
    store = open_store(data, create=False)
    if not store.children('episodes'):
        raise ValueError(f'{data} holds no episodes: give a store, as `lwd demo` leaves it in '
                         'results/demo/store, or record with `lwd up sim_fleet`')
    robot_path = robot_file or config_dir() / 'robots' / 'sim.yaml'
    workspace = Workspace(
        store, work_dir, RobotSpec.from_yaml(robot_path),
        load_tasks(tasks_file or config_dir() / 'tasks' / 'sim.yaml'), observation,
        LearnerConfig.from_yaml(options.config or learner_config_of(data)),
        make_trunk(observation, robot_path), options.seed, options.progress)
    begin: Any = initial or read_channel(store, 'stable') or train_sft(workspace, channel='')
    budget = {'steps': options.steps or workspace.config.learning.offline_steps or 1000}
    return train_offline(workspace, begin, channel, seconds=options.seconds, **budget), begin


def beside(store: str) -> Path:
    """Return the folder beside a store where a learner keeps its own; ./data of a bucket."""
    return Path('data') if is_bucket(store) else (
        Path(store.removeprefix('file://')).expanduser().resolve().parent)


def learner_config_of(store: str) -> Path | None:
    """Return the learner's configuration that a demonstration left beside its store, or None."""
    path = beside(store) / 'run' / 'learner.yaml'
    return path if path.is_file() else None

# SPDX-License-Identifier: Apache-2.0
"""What runs beside: the arbiter always; busy processes, or the real policy node and recorder."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import numpy as np
import torch

from lwd_bringup.paths import config_dir
from lwd_core.checkpoint import CheckpointContents, save_checkpoint, set_channel
from lwd_core.flow import make_policy
from lwd_core.flow.bundle import pack
from lwd_core.flow.trunk import load_trunk
from lwd_core.normalization import Normalizer
from lwd_core.priority import make_ordinary
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore


def node(module: str, namespace: str, **parameters: object) -> list[str]:
    """Return the command line of a node."""
    arguments = [sys.executable, '-m', module, '--ros-args', '-r', f'__ns:=/{namespace}']
    for name, value in parameters.items():
        arguments += ['-p', f'{name}:={str(value).lower() if isinstance(value, bool) else value}']
    return arguments


def as_every_process() -> None:
    """Do not inherit the stopwatch's priority."""
    make_ordinary(0)


def burn(count: int) -> list[subprocess.Popen[bytes]]:
    """Start as many processes that never rest."""
    return [subprocess.Popen([sys.executable, '-c', 'while True: pass'],
                             preexec_fn=as_every_process) for _ in range(count)]


def publish_policy(store: Path, robot: RobotSpec) -> None:
    """Put a checkpoint in the store that sees with cameras; untrained, it costs what others do."""
    torch.manual_seed(0)
    trunk = load_trunk(config_dir() / 'trunks' / 'sim.safetensors')
    dim, features = robot.action_dim, len(trunk.to_dict()['outputs'])
    rng = np.random.default_rng(0)
    home = np.array(robot.home)
    norms = {name: Normalizer.from_data(
        (centre + rng.normal(scale=scale, size=(64, size))).astype(np.float32)).to_json()
        for name, centre, scale, size in (('action', home, 0.01, dim), ('joints', home, 0.01, dim),
                                          ('features', 0.0, 1.0, features))}
    config = {'horizon': 16, 'action_dim': dim, 'joint_dim': dim, 'state_dim': 0,
              'feature_dim': features, 'instruction_dim': 64, 'hidden': 512, 'layers': 3}
    config, tensors = pack(make_policy(config, norms), trunk)
    opened = FolderStore(store)
    ref = save_checkpoint(opened, CheckpointContents(config, tensors, norms, 1, robot=robot))
    set_channel(opened, 'stable', ref)

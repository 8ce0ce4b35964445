# SPDX-License-Identifier: Apache-2.0
"""Policies of the sizes that are measured, and checkpoints of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import shutil
from typing import Any

import numpy as np
import torch

from lwd_core.checkpoint import CheckpointContents, CheckpointRef, save_checkpoint
from lwd_core.flow import make_policy, Policy
from lwd_core.normalization import Normalizer
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore

ROOT = Path(__file__).resolve().parents[2]
KINDS: dict[str, dict[str, Any]] = {
    'small': {'hidden': 512, 'layers': 3, 'prediction': 'action'},  # that of the demonstration
    '5M expert': {'network': 'transformer', 'hidden': 256, 'layers': 4}}


def robot_at(rate: float) -> RobotSpec:
    """Return the simulated robot at another control rate [Hz], without its cameras."""
    spec = RobotSpec.from_yaml(ROOT / 'config' / 'robots' / 'sim.yaml')
    return replace(spec, control_rate=rate, cameras=())


def make(kind: str, robot: RobotSpec, seed: int = 0) -> tuple[Policy, dict[str, Any]]:
    """Return a policy of random weights and its normalisation."""
    rng = np.random.default_rng(0)
    sizes = {'action': robot.action_dim, 'joints': robot.action_dim,
             'state': len(robot.state_names)}
    norms = {name: Normalizer.from_data(rng.normal(0, 0.3, (100, size))).to_json()
             for name, size in sizes.items()}
    torch.manual_seed(seed)
    config = {'action_dim': robot.action_dim, 'joint_dim': robot.action_dim,
              'state_dim': len(robot.state_names), **KINDS[kind]}
    return make_policy(config, norms), norms


class Learner:
    """Publishes checkpoint after checkpoint, each with other weights, and keeps only the newest.

    A learner has a machine of its own: what it costs here must not be taken for the reload's.
    """

    KEPT = 5

    def __init__(self, folder: Path, kind: str, robot: RobotSpec) -> None:
        self._folder, self._robot = folder, robot
        self._policy, self._norms = make(kind, robot)
        self._published: list[CheckpointRef] = []

    def publish(self) -> CheckpointRef:
        """Write the checkpoint of the next step."""
        weights = {name: value.clone() for name, value in self._policy.state_dict().items()}
        step = self._published[-1].step + 1 if self._published else 1
        next(iter(weights.values())).flatten()[0] += 1e-3 * step
        self._published.append(save_checkpoint(FolderStore(self._folder), CheckpointContents(
            self._policy.config(), weights, self._norms, step, robot=self._robot)))
        if len(self._published) > self.KEPT:
            shutil.rmtree(self._folder / self._published.pop(0).uri)
        return self._published[-1]


def publish(store: FolderStore, kind: str, robot: RobotSpec, step: int) -> CheckpointRef:
    """Write a checkpoint of this step."""
    policy, norms = make(kind, robot, seed=step)
    return save_checkpoint(store, CheckpointContents(
        policy.config(), policy.state_dict(), norms, step, robot=robot))

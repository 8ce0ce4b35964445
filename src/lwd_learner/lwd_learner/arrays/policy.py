# SPDX-License-Identifier: Apache-2.0
"""A policy learned from arrays: observation in, chunk of actions out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lwd_core.checkpoint import (
    CheckpointContents,
    CheckpointError,
    CheckpointRef,
    load_checkpoint,
    read_channel,
    save_checkpoint,
    set_channel,
)
from lwd_core.flow.acting import ActingPolicy
from lwd_core.flow.bundle import pack, unpack
from lwd_core.hashing import sha256_json
from lwd_core.store import FolderStore
from lwd_learner.arrays.dataset import ACTION_BOUND
from lwd_learner.arrays.mapping import ValueMapping
from lwd_learner.arrays.replay import policy_inputs

KIND = 'arrays'


@dataclass(frozen=True)
class ArraySpec:
    """What stands for the robot in the checkpoint: the sizes of the arrays."""

    observation_dim: int
    action_dim: int
    name: str = KIND
    control_rate: float = 1.0  # steps per step: arrays have no clock

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Return a name for each action dimension."""
        return tuple(f'action{index}' for index in range(self.action_dim))

    @property
    def digest(self) -> str:
        """Return the sha256 of the sizes."""
        return sha256_json({'observation_dim': self.observation_dim,
                            'action_dim': self.action_dim})


class ArrayPolicy:
    """Callable from Python without ROS; deterministic given observation, seed and weights."""

    def __init__(self, policy: Any, mapping: ValueMapping) -> None:
        self._acting = ActingPolicy(policy)
        self.mapping = mapping
        config = policy.config()
        self.observation_dim = int(config['state_dim'])
        self.action_dim, self.horizon = int(policy.action_dim), int(policy.horizon)

    def act(self, observation: ArrayLike, seed: int = 0) -> NDArray[np.float32]:
        """Return the chunk float32 [H, d] in [-1, 1] for an observation [o].

        The policy is a distribution: other seeds give other chunks.
        """
        vector = np.asarray(observation, np.float32)
        if vector.shape != (self.observation_dim,):
            raise ValueError(f'observation has shape {list(vector.shape)}, must be '
                             f'[{self.observation_dim}]')
        if not np.isfinite(vector).all():
            index = int(np.argmin(np.isfinite(vector)))
            raise ValueError(f'observation[{index}] is {vector[index]}, must be finite')
        chunk = self._acting.act_batch(policy_inputs(vector[None], self.action_dim), [seed])[0]
        return np.clip(chunk, -ACTION_BOUND, ACTION_BOUND)

    def save(self, folder: str, step: int, metrics: dict[str, Any]) -> CheckpointRef:
        """Write a checkpoint into the store `folder` and make it the stable one."""
        policy, store = self._acting.policy, FolderStore(folder)
        config, tensors = pack(policy, None)
        scale = {'return_low': self.mapping.low, 'return_high': self.mapping.high}
        ref = save_checkpoint(store, CheckpointContents(
            config, tensors, policy.normalization(), step,
            robot=ArraySpec(self.observation_dim, self.action_dim),
            metrics={**metrics, **scale}, kind=KIND))
        set_channel(store, 'stable', ref)
        return ref


def load_policy(folder: str, digest: str = '') -> ArrayPolicy:
    """Read the policy `digest` of a store, or its stable one; raises CheckpointError."""
    store = FolderStore(folder, create=False)
    ref = digest or read_channel(store, 'stable')
    if not ref:
        raise CheckpointError(f'{store} has no stable checkpoint: `lwd train offline --npz` '
                              'makes one')
    contents = load_checkpoint(store, ref)
    if contents.kind != KIND:
        raise CheckpointError(f'checkpoint {contents.manifest["digest"][:12]} is of kind '
                              f"'{contents.kind}', made for a robot: `lwd evaluate` runs it")
    policy, _ = unpack(contents.config, contents.normalization, contents.tensors)
    return ArrayPolicy(policy, ValueMapping(
        float(contents.metrics['return_low']), float(contents.metrics['return_high'])))

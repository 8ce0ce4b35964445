# SPDX-License-Identifier: Apache-2.0
"""From weights to checkpoints in the store: publish, move the channel, keep the newest N."""

from __future__ import annotations

from collections.abc import Mapping
import logging
import math
from typing import Any, Protocol

import torch

from lwd_core.checkpoint import (
    CheckpointContents,
    CheckpointError,
    CheckpointRef,
    list_checkpoints,
    load_checkpoint,
    MANIFEST,
    read_channel,
    save_checkpoint,
    set_channel,
)
from lwd_core.flow.bundle import pack, unpack
from lwd_core.flow.trunk import KeypointTrunk
from lwd_core.robot import RobotSpec
from lwd_core.store import Store, StoreError
from lwd_learner.budget import Diverged

LOGGER = logging.getLogger(__name__)
CHANNELS = ('stable', 'candidate')


class PublishablePolicy(Protocol):
    """What publishing needs of a policy."""

    def config(self) -> dict[str, Any]:
        """Return the arguments of `make_policy`."""

    def normalization(self) -> dict[str, Any]:
        """Return the normalisers as JSON data."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the weights."""


class Publisher:
    """Writes checkpoints of one learner; each names the one before it as its parent."""

    def __init__(
        self, store: Store, robot: RobotSpec, channel: str = 'stable', keep: int = 0,
        parent: str | None = None, trunk: KeypointTrunk | None = None,
    ) -> None:
        self.store = store
        self.robot = robot
        self.channel = channel
        self.keep = keep
        self.parent = parent
        self.trunk = trunk
        self.published: list[CheckpointRef] = []

    def publish(
        self, policy: PublishablePolicy, step: int, metrics: Mapping[str, Any], kind: str
    ) -> CheckpointRef:
        """Save the policy, let the channel mean it, and remove what is too old."""
        config, tensors = pack(policy, self.trunk)
        require_finite(tensors)
        contents = CheckpointContents(
            config=config, tensors=tensors,
            normalization=policy.normalization(), step=step, parent=self.parent,
            robot=self.robot, metrics=_json_numbers(metrics), kind=kind,
        )
        ref = save_checkpoint(self.store, contents)
        if self.channel:
            set_channel(self.store, self.channel, ref)
        self.parent = ref.digest
        self.published.append(ref)
        self._remove_old()
        return ref

    def _remove_old(self) -> None:
        """Remove own checkpoints beyond `keep`, except what a channel means.

        The manifest goes first: a robot that is just reading sees an incomplete checkpoint,
        refuses it, and keeps the policy it has.
        """
        if not self.keep:
            return
        current = {ref.uri for name in CHANNELS if (ref := read_channel(self.store, name))}
        while len(self.published) > self.keep:
            ref = self.published.pop(0)
            if ref.uri in current:
                continue
            try:
                self.store.delete_dir(ref.uri, MANIFEST)
            except (OSError, StoreError) as error:
                LOGGER.warning('cannot remove old checkpoint %s: %s', ref.uri, error)


def require_finite(tensors: Mapping[str, Any]) -> None:
    """Raise Diverged naming the first weight that is not finite: no robot may ever load it."""
    for name, value in tensors.items():
        weights = torch.as_tensor(value)
        if not bool(torch.isfinite(weights).all()):
            raise Diverged(f'weights {name} are not finite: not published')


def load_policy(
    store: Store, ref: CheckpointRef | str, robot: RobotSpec | None = None
) -> tuple[Any, CheckpointContents]:
    """Return a FlowPolicy (a torch module) with the verified weights of a checkpoint.

    Raises CheckpointError if it is refused.
    """
    contents = load_checkpoint(store, ref, robot)
    try:
        policy, _ = unpack(contents.config, contents.normalization, contents.tensors)
    except RuntimeError as error:
        raise CheckpointError(f'{contents.manifest["digest"][:12]}: weights do not fit: {error}') \
            from error
    return policy, contents


def find_checkpoint(store: Store, kind: str) -> CheckpointRef | None:
    """Return the newest checkpoint whose manifest says `kind` ('sft', 'dagger', ...)."""
    for ref in reversed(list_checkpoints(store)):
        if load_checkpoint(store, ref).kind == kind:
            return ref
    return None


def _json_numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Write 'no data' as null: JSON knows no NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in metrics.items()
    }

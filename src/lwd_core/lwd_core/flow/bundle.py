# SPDX-License-Identifier: Apache-2.0
"""Policy and vision trunk as one checkpoint's configuration and weights, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lwd_core.flow.acting import ActingPolicy
from lwd_core.flow.factory import make_policy, Policy
from lwd_core.flow.trunk import build_trunk, KeypointTrunk

VISION = 'vision'  # configuration key, and prefix of the trunk's tensors


def pack(policy: Any, trunk: KeypointTrunk | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (configuration, tensors); the trunk travels with the policy that sees through it."""
    config, tensors = dict(policy.config()), dict(policy.state_dict())
    if trunk is not None:
        config[VISION] = trunk.to_dict()
        tensors.update({f'{VISION}.{name}': value for name, value in trunk.state_dict().items()})
    return config, tensors


def unpack(config: Mapping[str, Any], normalization: Mapping[str, Any],
           tensors: Mapping[str, Any]) -> tuple[Policy, KeypointTrunk | None]:
    """Return (policy, trunk or None) with these weights.

    Raises ValueError, KeyError, TypeError or RuntimeError where weights and configuration differ.
    """
    weights = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    seeing = {name.removeprefix(f'{VISION}.'): weights.pop(name)
              for name in list(weights) if name.startswith(f'{VISION}.')}
    policy = make_policy({key: value for key, value in config.items() if key != VISION},
                         normalization)
    policy.load_state_dict(weights)
    trunk = None
    if VISION in config:
        trunk = build_trunk(config[VISION])
        trunk.load_state_dict(seeing)
    if config.get('feature_dim') and trunk is None:
        raise ValueError('the policy takes image features, but the checkpoint has no vision trunk')
    return policy, trunk


def unpack_acting(config: Mapping[str, Any], normalization: Mapping[str, Any],
                  tensors: Mapping[str, Any], steps: int = 10) -> ActingPolicy:
    """Return the policy of a checkpoint, ready to act; raises as `unpack`."""
    policy, trunk = unpack(config, normalization, tensors)
    return ActingPolicy(policy, steps=steps, trunk=trunk)

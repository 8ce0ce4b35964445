# SPDX-License-Identifier: Apache-2.0
"""The one place where an Observation becomes policy input, on the robot and at ingest."""

from __future__ import annotations

from typing import Any, Protocol, TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from lwd_core import instruction
from lwd_core.flow.protocol import Batch

if TYPE_CHECKING:
    from lwd_core.observation import Observation

Array = npt.NDArray[np.float32]


class FeatureTrunk(Protocol):
    """A frozen vision trunk: images by camera name and joints to one feature vector."""

    def features(self, images: dict[str, npt.NDArray[np.uint8]], joints: Array) -> Array:
        """Return float32 [F] of RGB images uint8 [H, W, 3] and joints [J]."""


def observation_arrays(observation: Observation, policy_config: dict[str, Any],
                       trunk: FeatureTrunk | None = None) -> dict[str, Array]:
    """Return the policy's inputs as float32 vectors, unbatched, in robot units.

    Raises ValueError naming the input that the policy needs and the observation lacks.
    """
    arrays = {'joints': vector('joints', observation.joints, policy_config['joint_dim'])}
    if policy_config.get('state_dim'):
        arrays['state'] = vector('state', observation.state, policy_config['state_dim'])
    if policy_config.get('feature_dim'):
        if trunk is None:
            raise ValueError('the policy takes image features: give a vision trunk')
        features = trunk.features(observation.images, arrays['joints'])
        arrays['features'] = vector('features', features, policy_config['feature_dim'])
    if policy_config.get('instruction_dim'):
        arrays['instruction'] = instruction.embed(observation.instruction,
                                                  policy_config['instruction_dim'])
    return arrays


def observation_to_batch(observation: Observation, policy: Any,
                         trunk: FeatureTrunk | None = None) -> Batch:
    """Return a batch of one for `policy` (anything with `config()`)."""
    arrays = observation_arrays(observation, policy.config(), trunk)
    return {name: torch.from_numpy(value)[None] for name, value in arrays.items()}


def vector(name: str, value: Any, size: int) -> Array:
    """Return `value` as float32 [size]; raises ValueError naming the input."""
    if value is None:
        raise ValueError(f'the policy needs {name!r} [{size}], the observation has none')
    vector = np.asarray(value, np.float32)
    if vector.shape != (size,):
        raise ValueError(
            f'observation {name!r} has shape {vector.shape}, the policy needs ({size},)')
    return vector

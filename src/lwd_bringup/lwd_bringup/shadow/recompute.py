# SPDX-License-Identifier: Apache-2.0
"""Compute recorded chunks again from the bag: same checkpoint, seed and samples, same bits?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lwd_bringup.shadow.compare import Chunk
from lwd_core.episode import read_episode
from lwd_core.observation import ObservationError, ObservationSpec
from lwd_core.robot import RobotSpec


def recompute(folder: Path, robot: RobotSpec, chunks: Mapping[int, Any], store: str,
              digest: str, backend: str = 'eager') -> dict[str, Any]:
    """Count the recorded chunks of checkpoint `digest` that come out bit for bit.

    Keys: 'chunks' of that checkpoint, 'bit_exact', 'without_samples' (not in the bag),
    'max_error' (None if nothing was computed).
    """
    import torch

    from lwd_policy_node.loading import load, LoadRequest
    loaded = load(LoadRequest(store, robot, digest, backend=backend))
    spec = ObservationSpec.for_robot(robot, loaded.mode, loaded.cameras or None,
                                     loaded.image_size)
    data = read_episode(folder, robot, spec, require_outcome=False)
    mine = [Chunk.of(chunk) for chunk in chunks.values() if chunk.checkpoint == loaded.digest]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the inference worker: other sums, other bits
    exact, missing, errors = 0, 0, []
    try:
        for chunk in mine:
            try:
                observation = data.assembler.at(chunk.tick_ns, data.instruction, chunk.sources)
            except ObservationError:
                missing += 1
                continue
            actions = loaded.policy.act(observation, chunk.seed)
            exact += np.array_equal(actions, chunk.actions)
            errors.append(float(np.abs(actions - chunk.actions).max()))
    finally:
        torch.set_num_threads(threads)
    return {'chunks': len(mine), 'bit_exact': exact, 'without_samples': missing,
            'max_error': max(errors) if errors else None}

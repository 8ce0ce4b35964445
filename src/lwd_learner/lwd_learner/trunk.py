# SPDX-License-Identifier: Apache-2.0
"""The frozen vision trunk of the observation mode; checkpoints carry it to the robots."""

from __future__ import annotations

from pathlib import Path

from lwd_core.flow.trunk import KeypointTrunk, load_trunk, TrunkError
from lwd_core.params import ParamError


def make_trunk(observation: str, robot_file: str | Path) -> KeypointTrunk | None:
    """Return the trunk whose features are cached a frame at ingest; None for state observation.

    It lies at `../trunks/<name of the robot file>.safetensors`, seen from the robot file.
    """
    if observation == 'state':
        return None
    robot_file = Path(robot_file)
    path = robot_file.parent.parent / 'trunks' / f'{robot_file.stem}.safetensors'
    try:
        return load_trunk(path)
    except TrunkError as error:
        raise ParamError(
            f"parameter observation: 'pixels' refused, no vision trunk ({error}): pretrain one, "
            f"or use 'state'") from error

# SPDX-License-Identifier: Apache-2.0
"""The frozen vision trunk of the observation mode, the same one the robots use."""

from __future__ import annotations

from importlib import import_module

from lwd_core.flow.inputs import FeatureTrunk
from lwd_core.params import ParamError

TRUNK_MODULE = 'lwd_core.flow.trunk'


def make_trunk(observation: str) -> FeatureTrunk | None:
    """Return the trunk whose features are cached a frame at ingest; None for state observation."""
    if observation == 'state':
        return None
    try:
        trunk: FeatureTrunk = import_module(TRUNK_MODULE).make_trunk()
    except ModuleNotFoundError as error:
        raise ParamError(
            f"parameter observation: 'pixels' refused, no vision trunk ({error}): use 'state'"
        ) from error
    return trunk

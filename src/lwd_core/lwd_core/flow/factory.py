# SPDX-License-Identifier: Apache-2.0
"""Build a policy from the configuration and normalisation stored in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lwd_core.flow.mlp import FlowMLP
from lwd_core.flow.network import FlowConfig, FlowNetwork
from lwd_core.flow.residual import build_residual, ResidualFlow
from lwd_core.flow.transformer import FlowTransformer
from lwd_core.normalization import Normalizer

KINDS = ('flow_mlp', 'flow_residual')
TILT = {'tilt_hidden', 'tilt_layers'}
Policy = FlowNetwork | ResidualFlow
BUILDERS: dict[str, type[FlowNetwork]] = {'mlp': FlowMLP, 'transformer': FlowTransformer}


def make_policy(config: Mapping[str, Any], norms: Mapping[str, Any]) -> Policy:
    """Return a policy with fresh weights; `norms` maps names to Normalizers or their JSON data.

    Raises ValueError naming the key when the configuration is not one this version can build.
    """
    kind = config.get('kind', 'flow_mlp')
    if kind not in KINDS:
        raise ValueError(f'policy kind {kind!r} is not one of {KINDS}')
    known = {field.name for field in fields(FlowConfig)}
    unknown = sorted(set(config) - known - (TILT if kind == 'flow_residual' else set()))
    if unknown:
        raise ValueError(f'policy configuration has unknown keys {unknown}')
    built = {name: norm if isinstance(norm, Normalizer) else Normalizer.from_json(norm)
             for name, norm in norms.items()}
    if kind == 'flow_residual':
        return build_residual(config, built, build_network)
    return build_network(FlowConfig(**config), built)


def build_network(config: FlowConfig, norms: Mapping[str, Normalizer]) -> FlowNetwork:
    """Return the network that `config.network` names, with fresh weights."""
    return BUILDERS[config.network](config, norms)

# SPDX-License-Identifier: Apache-2.0
"""Flow-matching policies over action chunks."""

from lwd_core.flow.acting import ActingPolicy
from lwd_core.flow.factory import make_policy, Policy
from lwd_core.flow.inputs import observation_arrays, observation_to_batch
from lwd_core.flow.mlp import FlowMLP
from lwd_core.flow.network import FlowConfig, FlowNetwork
from lwd_core.flow.protocol import Batch, FlowPolicy
from lwd_core.flow.residual import ResidualFlow
from lwd_core.flow.transformer import FlowTransformer

__all__ = ['ActingPolicy', 'Batch', 'FlowConfig', 'FlowMLP', 'FlowNetwork', 'FlowPolicy',
           'FlowTransformer', 'Policy', 'ResidualFlow', 'make_policy', 'observation_arrays',
           'observation_to_batch']

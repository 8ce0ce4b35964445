# SPDX-License-Identifier: Apache-2.0
"""Flow-matching policies over action chunks."""

from lwd_core.flow.acting import ActingPolicy
from lwd_core.flow.factory import make_policy, Policy
from lwd_core.flow.inputs import observation_arrays, observation_to_batch
from lwd_core.flow.mlp import FlowConfig, FlowMLP
from lwd_core.flow.protocol import Batch, FlowPolicy
from lwd_core.flow.residual import ResidualFlow

__all__ = ['ActingPolicy', 'Batch', 'FlowConfig', 'FlowMLP', 'FlowPolicy', 'Policy',
           'ResidualFlow', 'make_policy',
           'observation_arrays', 'observation_to_batch']

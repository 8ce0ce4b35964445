# SPDX-License-Identifier: Apache-2.0
"""A whole policy as one graph: arrays in, chunk out; for engines other than eager PyTorch.

The graph is traced once per architecture: images, trunk, encoder and the unrolled flow steps, whose
times are constants. Its initialisers carry the names of the module's parameters and buffers, so a
new checkpoint of the same architecture is filled in (`fill`), which takes milliseconds where an
export takes seconds.
"""

from __future__ import annotations

import json
from typing import Any, TYPE_CHECKING
import warnings

import numpy as np
import numpy.typing as npt
import torch
from torch import nn, Tensor

from lwd_core import instruction
from lwd_core.flow.factory import Policy
from lwd_core.flow.inputs import vector
from lwd_core.flow.sampler import chunk_noise
from lwd_core.flow.trunk import KeypointTrunk
from lwd_core.hashing import sha256_bytes

if TYPE_CHECKING:
    from lwd_core.observation import Observation

Arrays = dict[str, npt.NDArray[Any]]


class ExportError(RuntimeError):
    """A policy that cannot be turned into a graph, or a graph that is not this policy's."""


class ChunkSampler(nn.Module):
    """`forward` maps the arrays of one observation, and noise, to a chunk in robot units."""

    def __init__(self, policy: Policy, trunk: KeypointTrunk | None = None, steps: int = 10,
                 noise_scale: float = 1.0) -> None:
        """Join policy and trunk; `steps` Euler steps are unrolled."""
        super().__init__()
        self.policy = policy.eval().requires_grad_(False)
        self.trunk = trunk
        self.steps = steps
        self.noise_scale = noise_scale
        self._sizes = dict(policy.config())

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return the names of `forward`'s arguments, in order."""
        size = self._sizes
        names = ['joints']
        names += ['state'] if size.get('state_dim') else []
        names += ['images'] if size.get('feature_dim') else []
        names += ['instruction'] if size.get('instruction_dim') else []
        return (*names, 'noise')

    @property
    def architecture(self) -> str:
        """Return a digest of everything but weights: policies that share it share a graph."""
        shape = {'policy': self._sizes, 'steps': self.steps, 'torch': torch.__version__,
                 'trunk': self.trunk.to_dict() if self.trunk is not None else None}
        return sha256_bytes(json.dumps(shape, sort_keys=True).encode())

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the chunk [1, H, d] of `input_names`."""
        batch = dict(zip(self.input_names, inputs))
        noise, images = batch.pop('noise'), batch.pop('images', None)
        if images is not None:
            assert self.trunk is not None
            scaled = self.trunk(images, batch['joints'])
            batch['features'] = scaled * self.trunk.output_std + self.trunk.output_mean
        return self.policy.sample(self.policy.encode(batch), noise, self.steps)

    def arrays(self, observation: Observation, seed: int) -> Arrays:
        """Return `forward`'s arguments for an observation.

        Raises ValueError naming what is missing or misshapen.
        """
        size = self._sizes
        arrays: Arrays = {'joints': vector('joints', observation.joints, size['joint_dim'])[None]}
        if size.get('state_dim'):
            arrays['state'] = vector('state', observation.state, size['state_dim'])[None]
        if size.get('feature_dim'):
            if self.trunk is None:
                raise ValueError('the policy takes image features: give a vision trunk')
            arrays['images'] = self.trunk.stack(observation.images)[None]
        if size.get('instruction_dim'):
            arrays['instruction'] = instruction.embed(
                observation.instruction, size['instruction_dim'])[None]
        noise = chunk_noise(seed, self.policy.horizon, self.policy.action_dim) * self.noise_scale
        arrays['noise'] = noise.numpy()
        return arrays

    def example(self, seed: int = 0) -> Arrays:
        """Return random arguments as large as normalised data get, to compare engines on."""
        rng = np.random.default_rng(seed)
        size, arrays = self._sizes, Arrays()
        for name in self.input_names:
            if name == 'images':
                assert self.trunk is not None
                config = self.trunk.config
                shape = (1, len(config.cameras), config.image_size, config.image_size, 3)
                arrays[name] = rng.integers(0, 256, shape, np.uint8)
            elif name == 'noise':
                arrays[name] = chunk_noise(
                    seed, self.policy.horizon, self.policy.action_dim).numpy()
            elif name == 'instruction':
                drawn = rng.normal(size=(1, size['instruction_dim']))
                arrays[name] = (drawn / np.linalg.norm(drawn)).astype(np.float32)
            else:
                arrays[name] = self._drawn(name, rng)
        return arrays

    def _drawn(self, name: str, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        norm = self.policy.normalization()[name]
        mean, std = np.asarray(norm['mean']), np.asarray(norm['std'])
        return (mean + std * rng.normal(size=mean.shape)).astype(np.float32)[None]


def to_onnx(sampler: ChunkSampler) -> bytes:
    """Return the sampler as an ONNX model; takes seconds. Raises ExportError."""
    example = sampler.example()
    inputs = tuple(torch.from_numpy(example[name]) for name in sampler.input_names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            program = torch.onnx.export(
                sampler, inputs, dynamo=True, optimize=False, verbose=False,
                input_names=list(sampler.input_names), output_names=['chunk'])
    except Exception as error:  # the exporter raises its own and others' errors alike
        raise ExportError(f'export failed: {type(error).__name__}: {error}') from error
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


def fill(model: bytes, sampler: ChunkSampler) -> bytes:
    """Return `model`, made by `to_onnx` from the same architecture, with `sampler`'s weights."""
    import onnx
    from onnx import numpy_helper
    proto = onnx.load_from_string(model)
    values = {**dict(sampler.named_parameters()), **dict(sampler.named_buffers())}
    filled = 0
    for initializer in proto.graph.initializer:
        value = values.get(initializer.name)
        if value is None:
            continue  # a constant of the graph
        if tuple(initializer.dims) != tuple(value.shape):
            raise ExportError(f'the graph has {initializer.name} of shape '
                              f'{tuple(initializer.dims)}, the policy {tuple(value.shape)}')
        array = value.detach().cpu().numpy()
        initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
        filled += 1
    if not filled:
        raise ExportError('the graph holds no weight by the name of one of the policy')
    data: bytes = proto.SerializeToString()
    return data

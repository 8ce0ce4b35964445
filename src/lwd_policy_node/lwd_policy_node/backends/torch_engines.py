# SPDX-License-Identifier: Apache-2.0
"""PyTorch's own backends: eager, torch.compile, and a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
import copy
import importlib
import shutil

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lwd_core.flow.export import ChunkSampler
from lwd_policy_node.backends.engine import Arrays, BackendError, BackendUnavailableError

WARM_RUNS = 3  # before a CUDA graph is captured, as torch.cuda.graphs asks


class EagerEngine:
    """The module as it is: the reference the others are checked against."""

    name = 'eager'

    def __init__(self, sampler: ChunkSampler, threads: int = 1) -> None:
        """Wrap `sampler`; torch's threads are a setting of the process, set by the worker."""
        self._module: ChunkSampler = sampler
        self._names = sampler.input_names

    @torch.no_grad()
    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Return the chunk float32 [H, d]."""
        inputs = [torch.from_numpy(arrays[name]) for name in self._names]
        return np.asarray(self._compute(inputs)[0].numpy(), np.float32)

    def _compute(self, inputs: list[Tensor]) -> Tensor:
        chunk: Tensor = self._module(*inputs)
        return chunk


class CompiledEngine(EagerEngine):
    """torch.compile: fused kernels, for a compilation of up to a minute at the first load.

    Compiled once per architecture, with the weights as arguments: the next checkpoint hands in its
    own and compiles nothing.
    """

    name = 'compile'

    def __init__(self, sampler: ChunkSampler, threads: int = 1) -> None:
        """Compile at once, unless it was; BackendError if that fails."""
        super().__init__(sampler)
        if shutil.which('g++') is None:
            raise BackendUnavailableError('torch.compile needs g++: apt-get install g++')
        # Detached: were they the traced module's own, the next checkpoint's would not fit.
        self._weights = {name: value.detach() for name, value in (
            *sampler.named_parameters(), *sampler.named_buffers())}
        self._compiled = _compiled_once(sampler)
        try:
            self.run(sampler.example())
        except Exception as error:  # dynamo and inductor raise what they like
            _compiled.pop(sampler.architecture, None)
            raise BackendError(f'torch.compile: {type(error).__name__}: {error}') from error

    def _compute(self, inputs: list[Tensor]) -> Tensor:
        return self._compiled(self._weights, tuple(inputs))


Compiled = Callable[[dict[str, Tensor], tuple[Tensor, ...]], Tensor]
_compiled: dict[str, Compiled] = {}  # by architecture


def _compiled_once(sampler: ChunkSampler) -> Compiled:
    """Return the architecture's function of weights and inputs; the first call compiles it."""
    def compute(weights: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
        chunk: Tensor = torch.func.functional_call(sampler, weights, inputs)
        return chunk
    if sampler.architecture not in _compiled:
        # In this process, at its niceness: the other cores belong to control and cameras.
        importlib.import_module('torch._inductor.config').compile_threads = 1
        _compiled[sampler.architecture] = torch.compile(compute, dynamic=False)
    return _compiled[sampler.architecture]


class CudaGraphEngine:
    """The whole chunk as one CUDA graph: a single launch instead of hundreds."""

    name = 'cuda_graph'

    def __init__(self, sampler: ChunkSampler, threads: int = 1) -> None:
        """Move `sampler`'s copy to the GPU and capture; BackendUnavailableError without one."""
        if not torch.cuda.is_available():
            cuda = torch.version.cuda
            why = (f'is built for CUDA {cuda}, but no GPU answers' if cuda
                   else 'is built for the CPU')
            raise BackendUnavailableError(f'no CUDA device: torch {torch.__version__} {why}')
        self._names = sampler.input_names
        # A copy: the policy stays on the CPU, where guided sampling runs it.
        self._module = copy.deepcopy(sampler).cuda()
        self._inputs = {name: torch.from_numpy(value).cuda()
                        for name, value in sampler.example().items()}
        try:
            self._capture()
        except RuntimeError as error:
            raise BackendError(f'CUDA graph: {error}') from error

    @torch.no_grad()
    def _capture(self) -> None:
        arguments = [self._inputs[name] for name in self._names]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_RUNS):
                self._module(*arguments)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._chunk: Tensor = self._module(*arguments)

    @torch.no_grad()
    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Return the chunk float32 [H, d]."""
        for name in self._names:
            self._inputs[name].copy_(torch.from_numpy(arrays[name]))
        self._graph.replay()
        return np.asarray(self._chunk[0].cpu().numpy(), np.float32)


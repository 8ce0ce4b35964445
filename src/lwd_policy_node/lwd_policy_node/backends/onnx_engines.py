# SPDX-License-Identifier: Apache-2.0
"""Backends that run the exported graph: ONNX Runtime and OpenVINO."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from lwd_core.flow.export import ChunkSampler, ExportError, fill
from lwd_policy_node.backends.engine import Arrays, BackendError, BackendUnavailableError
from lwd_policy_node.backends.graphs import graph_of


def _import(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendUnavailableError(
            f'{package} is not installed ({error}): make setup'
            + (' EXTRAS=1' if package == 'openvino' else '')) from error


def _model(sampler: ChunkSampler) -> bytes:
    """Return the sampler's graph with its weights."""
    _import('onnx', 'onnx')
    # Only an export imports it: 0.7 s that a worker with a kept graph saves.
    if find_spec('onnxscript') is None:
        raise BackendUnavailableError('onnxscript is not installed: make setup')
    try:
        return fill(graph_of(sampler), sampler)
    except ExportError as error:
        raise BackendError(str(error)) from error


class OnnxRuntimeEngine:
    """ONNX Runtime on the CPU; single-threaded runs of one session are bitwise repeatable."""

    name = 'onnxruntime'

    def __init__(self, sampler: ChunkSampler, threads: int = 1) -> None:
        """Build a session of `threads` threads that do not spin while they wait."""
        runtime = _import('onnxruntime', 'onnxruntime')
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(
                _model(sampler), options, providers=['CPUExecutionProvider'])
        except BackendError:
            raise
        except Exception as error:  # a C++ exception of any class
            raise BackendError(f'ONNX Runtime: {error}') from error

    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Return the chunk float32 [H, d]."""
        chunk = self._session.run(None, arrays)[0][0]
        return np.asarray(chunk, np.float32)


class OpenVinoEngine:
    """OpenVINO on the CPU, in float32 also where the processor would offer bfloat16."""

    name = 'openvino'

    def __init__(self, sampler: ChunkSampler, threads: int = 1) -> None:
        """Compile the graph for `threads` threads."""
        openvino = _import('openvino', 'openvino')
        try:
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(_model(sampler)), 'CPU', {
                'INFERENCE_NUM_THREADS': threads, 'INFERENCE_PRECISION_HINT': 'f32',
                'PERFORMANCE_HINT': 'LATENCY', 'ENABLE_CPU_PINNING': False})
            self._request = compiled.create_infer_request()
        except BackendError:
            raise
        except Exception as error:  # a C++ exception of any class
            raise BackendError(f'OpenVINO: {error}') from error

    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Return the chunk float32 [H, d]."""
        result = self._request.infer(arrays, share_inputs=True)
        return np.array(next(iter(result.values()))[0], np.float32)

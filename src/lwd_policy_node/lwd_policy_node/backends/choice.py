# SPDX-License-Identifier: Apache-2.0
"""Which backend computes: the one asked for, or the fastest measured on this machine.

    auto   eager if it takes less than a tenth of the control period, since nothing that follows
           would be noticed; otherwise the fastest of what is installed, measured at warm-up
    NAME   that one; eager, with the reason, if it is missing or does not compute this policy

What was chosen for an architecture is remembered: the next checkpoint builds only that backend,
and so does a worker that is started again. A backend that differs from eager with one checkpoint's
weights is not used for that one; whether it serves the next one is found out there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lwd_core.flow.export import ChunkSampler
from lwd_policy_node.backends import graphs
from lwd_policy_node.backends.engine import (
    BackendDiffersError,
    BackendError,
    BackendUnavailableError,
    Builder,
    check,
    Engine,
    seconds,
)
from lwd_policy_node.backends.onnx_engines import OnnxRuntimeEngine, OpenVinoEngine
from lwd_policy_node.backends.torch_engines import CompiledEngine, CudaGraphEngine, EagerEngine

BUILDERS: dict[str, Builder] = {
    'eager': EagerEngine, 'compile': CompiledEngine, 'onnxruntime': OnnxRuntimeEngine,
    'openvino': OpenVinoEngine, 'cuda_graph': CudaGraphEngine}
# torch.compile is left out: it takes up to a minute, on the cores that control needs.
AUTOMATIC = ('cuda_graph', 'onnxruntime', 'openvino')
ENOUGH = 0.1  # of the control period

_remembered: dict[tuple[str, int], str] = {}


@dataclass(frozen=True)
class Choice:
    """An engine, and why it is this one."""

    engine: Engine
    note: str
    # What another worker is to compute this checkpoint with: not the engine's name where eager
    # stands in for it; 'auto' where that has to be measured again.
    measured: str


def choose(sampler: ChunkSampler, wanted: str, period: float, threads: int = 1,
           measured: str = '', builders: Mapping[str, Builder] = BUILDERS,
           measure: Callable[..., float] = seconds) -> Choice:
    """Return the engine for `sampler`; `period` is the control period [s]. Never raises.

    `measured` is what auto chose for this sampler elsewhere; '' or 'auto': nothing is known.
    """
    eager = builders['eager'](sampler, threads)
    if wanted != 'auto':
        return _named(sampler, wanted, eager, threads, builders)
    key = (sampler.architecture, threads)
    known = _remembered.setdefault(key, measured) if measured in builders else (
        _remembered.get(key))
    if known is not None:
        return _named(sampler, known, eager, threads, builders, 'the fastest when it was measured')
    choice = _fastest(sampler, eager, period, threads, builders, measure)
    if choice.measured != 'auto':
        _remembered[key] = choice.measured
    return choice


def _named(sampler: ChunkSampler, name: str, eager: Engine, threads: int,
           builders: Mapping[str, Builder], why: str = 'asked for') -> Choice:
    if name == 'eager':
        return Choice(eager, why, name)
    try:
        engine, gap = _checked(sampler, name, eager, threads, builders)
    except BackendError as error:
        return Choice(eager, f'eager instead of {name}: {error}', name)
    return Choice(engine, f'{why}; differs from eager by {gap:.1g} standard deviations', name)


def _checked(sampler: ChunkSampler, name: str, eager: Engine, threads: int,
             builders: Mapping[str, Builder]) -> tuple[Engine, float]:
    """Build and compare with eager; once more with a fresh graph if a kept one may be at fault."""
    try:
        engine = builders[name](sampler, threads)
        return engine, check(engine, eager, sampler)
    except BackendUnavailableError:
        raise
    except BackendError:
        if name not in ('onnxruntime', 'openvino'):
            raise
        graphs.forget(sampler)
        engine = builders[name](sampler, threads)
        return engine, check(engine, eager, sampler)


def _fastest(sampler: ChunkSampler, eager: Engine, period: float, threads: int,
             builders: Mapping[str, Builder], measure: Callable[..., float]) -> Choice:
    example = sampler.example()
    taken = measure(eager, example)
    if taken < ENOUGH * period:
        return Choice(eager, f'eager takes {1e3 * taken:.1f} ms, enough for a period of '
                             f'{1e3 * period:.0f} ms', eager.name)
    best, notes, differs = (taken, eager), [f'eager {1e3 * taken:.1f} ms'], False
    for name in AUTOMATIC:
        if name not in builders:
            continue
        try:
            engine, _ = _checked(sampler, name, eager, threads, builders)
        except BackendError as error:
            notes.append(f'{name}: {error}')
            differs = differs or isinstance(error, BackendDiffersError)
            continue
        taken = measure(engine, example)
        notes.append(f'{name} {1e3 * taken:.1f} ms')
        best = min(best, (taken, engine), key=lambda pair: pair[0])
    return Choice(best[1], 'measured: ' + ', '.join(notes),
                  'auto' if differs else best[1].name)

# SPDX-License-Identifier: Apache-2.0
"""Backends compute the same chunk as eager PyTorch, or say why they are not used."""

from importlib.util import find_spec
from shutil import which
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from lwd_core.flow import ActingPolicy, make_policy, ResidualFlow  # noqa: E402
from lwd_core.flow.export import fill, to_onnx  # noqa: E402
from lwd_core.flow.trunk import build_trunk  # noqa: E402
from lwd_core.normalization import Normalizer  # noqa: E402
from lwd_policy_node.backends import choice as choice_module  # noqa: E402
from lwd_policy_node.backends import graphs  # noqa: E402
from lwd_policy_node.backends.choice import choose  # noqa: E402
from lwd_policy_node.backends.engine import (  # noqa: E402
    BackendError,
    BackendUnavailableError,
    BOUND,
    check,
    difference,
    seconds,
)
from lwd_policy_node.backends.onnx_engines import OnnxRuntimeEngine, OpenVinoEngine  # noqa: E402
from lwd_policy_node.backends.torch_engines import (  # noqa: E402
    CompiledEngine,
    CudaGraphEngine,
    EagerEngine,
)

PERIOD = 0.04
SIZES = {'action': 3, 'joints': 3, 'state': 5, 'features': 2}
SMALL = {'horizon': 4, 'action_dim': 3, 'joint_dim': 3, 'instruction_dim': 8, 'hidden': 16,
         'layers': 2}
ENGINES = [
    pytest.param(OnnxRuntimeEngine, id='onnxruntime'),
    pytest.param(OpenVinoEngine, id='openvino', marks=pytest.mark.skipif(
        find_spec('openvino') is None, reason='openvino is optional: make setup EXTRAS=1')),
]


def norms(*names):
    rng = np.random.default_rng(0)
    return {name: Normalizer.from_data(rng.normal(1, 2, size=(50, SIZES[name])))
            for name in ('action', *names)}


def acting(kind='state', seed=0):
    torch.manual_seed(seed)
    if kind == 'pixels':
        trunk = build_trunk(dict(outputs=['x', 'y'], cameras=['head', 'right_wrist'],
                                 encoders=[0, 1], image_size=8, joint_dim=3, channels=4, hidden=8))
        policy = make_policy({**SMALL, 'feature_dim': 2}, norms('joints', 'features'))
        return ActingPolicy(policy, steps=3, trunk=trunk)
    changes = {'network': 'transformer', 'heads': 2, 'prefix_tokens': 2} if (
        kind == 'transformer') else {}
    policy = make_policy({**SMALL, 'state_dim': 5, **changes}, norms('joints', 'state'))
    if kind == 'residual':
        policy = ResidualFlow.over(policy, 8, 1)
        torch.nn.init.normal_(policy.tilt.out.weight, std=0.1)
    return ActingPolicy(policy, steps=3)


def observation(seed=0):
    rng = np.random.default_rng(seed)
    return SimpleNamespace(
        joints=rng.normal(size=3).astype(np.float32), state=rng.normal(size=5).astype(np.float32),
        images={name: rng.integers(0, 256, (8, 8, 3), np.uint8) for name in (
            'head', 'right_wrist')}, instruction='lift the crate')


@pytest.fixture(scope='module')
def shared_cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp('graphs'))


@pytest.fixture(autouse=True)
def nothing_remembered(shared_cache, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', shared_cache)  # exports take seconds
    monkeypatch.setattr(choice_module, '_remembered', {})


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(graphs, '_graphs', {})


@pytest.mark.parametrize('kind', ['state', 'transformer', 'residual', 'pixels'])
@pytest.mark.parametrize('engine', ENGINES)
def test_an_exported_policy_gives_eagers_chunk_within_the_bound(engine, kind):
    policy = acting(kind)
    expected = policy.act(observation(), 3)
    sampler = policy.sampler()
    made = engine(sampler)
    assert check(made, EagerEngine(sampler), sampler) < BOUND
    policy.use(sampler, made)
    chunk = policy.act(observation(), 3)
    assert chunk.shape == (4, 3) and chunk.dtype == np.float32
    assert np.abs(chunk - expected).max() < 1e-4
    assert not np.allclose(chunk, policy.act(observation(), 4), atol=1e-3)
    assert not np.allclose(chunk, policy.act(observation(1), 3), atol=1e-3)


@pytest.mark.parametrize('engine', ENGINES)
def test_the_same_observation_seed_and_weights_give_the_same_bits_after_a_new_load(engine):
    chunks = []
    for _ in range(2):
        policy = acting('transformer')
        sampler = policy.sampler()
        policy.use(sampler, engine(sampler))
        chunks += [policy.act(observation(), 3).tobytes() for _ in range(2)]
    assert len(set(chunks)) == 1


def test_eager_through_the_sampler_is_bit_for_bit_the_acting_policy():
    policy = acting('pixels')
    expected = policy.act(observation(), 5)
    sampler = policy.sampler()
    policy.use(sampler, EagerEngine(sampler))
    assert policy.act(observation(), 5).tobytes() == expected.tobytes()


def test_a_second_checkpoint_of_one_architecture_is_filled_in_and_not_exported_again(
        empty_cache, monkeypatch):
    exports = []
    monkeypatch.setattr(graphs, 'to_onnx', lambda sampler: exports.append(1) or to_onnx(sampler))
    for seed in (0, 1):
        sampler = acting(seed=seed).sampler()
        assert check(OnnxRuntimeEngine(sampler), EagerEngine(sampler), sampler) < BOUND
    assert exports == [1]


@pytest.mark.skipif(which('g++') is None, reason='torch.compile needs g++')
def test_a_second_checkpoint_of_one_architecture_is_not_compiled_again():
    from torch._dynamo.utils import counters
    graphs_before = counters['stats']['unique_graphs']
    for seed in (0, 1):
        sampler = acting(seed=seed).sampler()
        assert check(CompiledEngine(sampler), EagerEngine(sampler), sampler) < BOUND
    assert counters['stats']['unique_graphs'] == graphs_before + 1


def test_a_graph_with_another_checkpoints_weights_is_found_out():
    graph = to_onnx(acting(seed=0).sampler())
    sampler = acting(seed=1).sampler()

    class Stale(OnnxRuntimeEngine):
        def __init__(self, sampler):
            import onnxruntime
            self._session = onnxruntime.InferenceSession(graph, providers=['CPUExecutionProvider'])
    stale = Stale(sampler)
    with pytest.raises(BackendError, match=f'bound {BOUND:g}'):
        check(stale, EagerEngine(sampler), sampler)
    assert fill(graph, sampler) != graph


def test_a_damaged_graph_on_disk_costs_a_new_export_and_nothing_else(empty_cache):
    sampler = acting().sampler()
    path = graphs.cache_folder() / f'{sampler.architecture}.onnx'
    path.parent.mkdir(parents=True)
    path.write_bytes(b'no graph')
    choice = choose(sampler, 'onnxruntime', PERIOD)
    assert choice.engine.name == 'onnxruntime'
    assert path.read_bytes() != b'no graph'


class Fake:
    """An engine that is as wrong and as slow as it is told."""

    def __init__(self, name, sampler, offset=0.0, taken=0.0):
        self.name, self.taken, self._offset = name, taken, offset
        self._eager = EagerEngine(sampler)

    def run(self, arrays):
        return self._eager.run(arrays) + np.float32(self._offset)


def builders(**taken):
    """Return builders of fakes that take so many seconds; an exception is raised instead."""
    def builder(name, value):
        def build(sampler, threads):
            if isinstance(value, Exception):
                raise value
            return Fake(name, sampler, *(value if isinstance(value, tuple) else (0.0, value)))
        return build
    return {name: builder(name, value) for name, value in taken.items()}


def measured(engine, arrays):
    return engine.taken


def pick(wanted, known='', **taken):
    return choose(acting().sampler(), wanted, PERIOD, measured=known, builders=builders(**taken),
                  measure=measured)


def test_auto_stays_with_eager_where_it_takes_under_a_tenth_of_the_period():
    choice = pick('auto', eager=0.003, onnxruntime=0.001)
    assert choice.engine.name == 'eager' and '3.0 ms' in choice.note


def test_auto_takes_the_fastest_and_says_what_was_measured():
    choice = pick('auto', eager=0.02, onnxruntime=0.008, openvino=0.006)
    assert choice.engine.name == 'openvino'
    assert 'eager 20.0 ms' in choice.note and 'onnxruntime 8.0 ms' in choice.note


def test_auto_passes_over_what_is_missing_or_wrong_and_says_so():
    choice = pick('auto', eager=0.02, onnxruntime=(0.1, 0.001),
                  openvino=BackendUnavailableError('openvino is not installed'))
    assert choice.engine.name == 'eager'
    assert 'bound' in choice.note and 'not installed' in choice.note


def test_a_busy_moment_does_not_count_against_a_backend():
    sampler, now, busy = acting().sampler(), [0.0], iter([0.9, 0.9, 0.5, 0.002, 0.4, 0.003])

    class Busy(Fake):
        def run(self, arrays):
            now[0] += next(busy)
    engine = Busy('eager', sampler)
    assert seconds(engine, {}, runs=4, clock=lambda: now[0]) == pytest.approx(0.002)


def test_what_auto_chose_for_an_architecture_is_built_at_once_for_the_next_checkpoint():
    assert pick('auto', eager=0.02, onnxruntime=0.001).engine.name == 'onnxruntime'
    # Another measurement would now choose eager.
    assert pick('auto', eager=0.001, onnxruntime=0.5).engine.name == 'onnxruntime'


def test_what_auto_chose_in_a_worker_before_is_built_without_measuring():
    def never(engine, arrays):
        raise AssertionError('measured')
    known = builders(eager=0.02, onnxruntime=0.001)
    choice = choose(acting().sampler(), 'auto', PERIOD, measured='onnxruntime', builders=known,
                    measure=never)
    assert choice.engine.name == 'onnxruntime'
    # A name that this version does not know is measured again, and forgotten.
    assert pick('auto', known='abacus', eager=0.02, onnxruntime=0.001).engine.name == 'onnxruntime'


def test_a_backend_that_is_wrong_with_one_checkpoints_weights_is_tried_again_for_the_next_one():
    choice = pick('auto', eager=0.02, onnxruntime=(0.1, 0.001))
    assert (choice.engine.name, choice.measured) == ('eager', 'auto') and 'differs' in choice.note
    choice = pick('auto', eager=0.02, onnxruntime=0.001)
    assert (choice.engine.name, choice.measured) == ('onnxruntime', 'onnxruntime')
    # The fastest by measurement; this checkpoint's weights do not pass.
    choice = pick('auto', eager=0.02, onnxruntime=(0.1, 0.001))
    assert (choice.engine.name, choice.measured) == ('eager', 'onnxruntime')
    assert 'eager instead of onnxruntime: differs' in choice.note
    assert pick('auto', eager=0.02, onnxruntime=0.001).engine.name == 'onnxruntime'


def test_what_is_missing_is_not_looked_for_again():
    missing = BackendUnavailableError('openvino is not installed')
    choice = pick('auto', eager=0.01, openvino=missing)
    assert (choice.engine.name, choice.measured) == ('eager', 'eager')
    assert pick('auto', eager=0.01, openvino=0.001).engine.name == 'eager'


@pytest.mark.parametrize(('problem', 'words'), [
    (BackendUnavailableError('onnxruntime is not installed'), 'not installed'),
    (BackendError('unsupported operator'), 'unsupported operator'),
    ((0.1, 0.0), 'differs from eager'),
    ((float('nan'), 0.0), 'inf standard deviations')])
def test_a_backend_asked_for_that_does_not_work_is_eager_with_the_reason(problem, words):
    choice = pick('onnxruntime', eager=0.02, onnxruntime=problem)
    assert choice.engine.name == 'eager'
    assert 'eager instead of onnxruntime' in choice.note and words in choice.note


def test_without_a_gpu_the_cuda_graph_says_what_is_missing():
    if torch.cuda.is_available():
        sampler = acting().sampler()
        assert difference(CudaGraphEngine(sampler), EagerEngine(sampler), sampler) < BOUND
    else:
        with pytest.raises(BackendUnavailableError, match='no CUDA device: torch'):
            CudaGraphEngine(acting().sampler())

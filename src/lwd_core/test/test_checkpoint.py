# SPDX-License-Identifier: Apache-2.0
"""A checkpoint is loaded only if every bit of it is what was published, for this robot."""

from dataclasses import dataclass, replace
import io
import json
import pickle

import numpy as np
import pytest

from lwd_core import checkpoint as ckpt
from lwd_core.checkpoint import (
    CheckpointContents,
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
    read_channel,
    save_checkpoint,
    set_channel,
)
from lwd_core.hashing import sha256_bytes, sha256_json
from lwd_core.store import FolderStore


@dataclass(frozen=True)
class Robot:
    name: str = 'a'
    digest: str = 'd' * 64
    joint_names: tuple = ('left/waist', 'left/jaw')
    control_rate: float = 25.0


ROBOT = Robot()


def contents(**changes):
    base = CheckpointContents(
        config={'network': 'mlp', 'horizon': 8, 'action_dim': 2},
        tensors={'a.weight': np.arange(6, dtype=np.float32).reshape(2, 3), 'n': np.int64(3)},
        normalization={
            'action': {'mean': [0.0, 1.0], 'std': [1.0, 0.5]},
            'state': {'mean': [0.0] * 5, 'std': [1.0] * 5},
        },
        step=50,
        robot=ROBOT,
        metrics={'loss': 0.5},
    )
    return replace(base, **changes)


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path)


@pytest.fixture
def saved(store):
    return save_checkpoint(store, contents())


def test_what_was_saved_is_loaded(store, saved):
    for key in (saved, saved.digest, saved.digest[:12], saved.uri):
        loaded = load_checkpoint(store, key, ROBOT, horizon=8)
        assert loaded.step == 50 and loaded.config['horizon'] == 8
        assert loaded.metrics == {'loss': 0.5} and loaded.parent is None
        np.testing.assert_array_equal(loaded.tensors['a.weight'], contents().tensors['a.weight'])
        assert loaded.tensors['n'].shape == () and loaded.tensors['a.weight'].dtype == np.float32
    assert saved.uri == f'checkpoints/00000050-{saved.digest[:12]}'


def test_another_instance_of_the_same_robot_may_load_it(store, saved):
    load_checkpoint(store, saved, replace(ROBOT, name='b'))


def test_torch_tensors_round_trip(store):
    torch = pytest.importorskip('torch')
    weight = torch.arange(6.0).reshape(2, 3).T  # not contiguous
    ref = save_checkpoint(store, contents(tensors={'w': weight, 'h': weight.half()}))
    loaded = load_checkpoint(store, ref).tensors
    assert torch.equal(torch.from_numpy(loaded['w']), weight)
    assert loaded['h'].dtype == np.float16


def test_checkpoints_are_listed_oldest_first_and_half_written_ones_are_not(store, saved):
    newer = save_checkpoint(store, contents(step=200, parent=saved.digest))
    store.put('checkpoints/00000300-abcdefabcdef/config.json', b'{}')
    assert list_checkpoints(store) == [saved, newer]


def test_a_channel_is_replaced_whole(store, saved):
    assert read_channel(store, 'stable') is None
    set_channel(store, 'stable', saved)
    assert read_channel(store, 'stable') == saved
    newer = save_checkpoint(store, contents(step=51))
    set_channel(store, 'stable', newer)
    assert read_channel(store, 'stable') == newer
    with pytest.raises(CheckpointError, match='channel'):
        set_channel(store, '../x', saved)


def rewrite(store, ref, change_manifest=None, **files):
    """Replace files as somebody would who also mends the manifest's digests."""
    path = store.path / ref.uri
    manifest = json.loads((path / 'manifest.json').read_text())
    for name, data in files.items():
        name = ckpt.TENSORS if name == 'tensors' else f'{name}.json'
        (path / name).write_bytes(data)
        manifest['files'][name] = {'sha256': sha256_bytes(data), 'bytes': len(data)}
    if change_manifest:
        change_manifest(manifest)
    manifest['digest'] = sha256_json({k: v for k, v in manifest.items() if k != 'digest'})
    (path / 'manifest.json').write_text(json.dumps(manifest))
    return ref.uri


def pickled():
    stream = io.BytesIO()
    pickle.dump({'a': 1}, stream)
    return stream.getvalue()


REFUSED = [
    (lambda s, r: (s.path / r.uri / 'manifest.json').unlink(), 'manifest.json is missing'),
    (lambda s, r: (s.path / r.uri / 'config.json').unlink(), 'config.json is missing'),
    (lambda s, r: s.put(f'{r.uri}/policy.safetensors', s.get(f'{r.uri}/policy.safetensors')[:-4]),
     'cut off'),
    (lambda s, r: s.put(f'{r.uri}/policy.safetensors', b''), 'cut off'),
    (lambda s, r: s.put(
        f'{r.uri}/policy.safetensors', s.get(f'{r.uri}/policy.safetensors')[:-1] + b'\x01'),
     'damaged'),
    (lambda s, r: s.put(f'{r.uri}/manifest.json',
                        s.get(f'{r.uri}/manifest.json').replace(b'25.0', b'50.0')),
     'was changed'),
    (lambda s, r: s.put(f'{r.uri}/manifest.json', b'{'), 'not JSON'),
    (lambda s, r: s.put(f'{r.uri}/manifest.json', b'[]'), 'must be an object'),
    (lambda s, r: rewrite(s, r, lambda m: m.update(schema_version=9)), 'schema version is 9'),
    (lambda s, r: rewrite(s, r, lambda m: m.pop('joint_names')), 'joint_names'),
    (lambda s, r: rewrite(s, r, lambda m: m.update(chunk_length=16)), 'chunk length is 16'),
    (lambda s, r: rewrite(s, r, tensors=pickled()), 'pickle'),
    (lambda s, r: rewrite(s, r, tensors=b'PK\x03\x04' + bytes(30)), 'pickle or torch archive'),
    (lambda s, r: rewrite(s, r, tensors=b'\xff' * 40), 'not a safetensors'),
    (lambda s, r: rewrite(s, r, tensors=b'\xff' * 8 + b'{' + bytes(40)), 'not a safetensors'),
    (lambda s, r: rewrite(s, r, config=b'{"horizon": 8, "action_dim": 3}'), 'action_dim is 3'),
    (lambda s, r: rewrite(s, r, config=b'{"horizon": 0, "action_dim": 2}'), 'config.horizon is 0'),
]


@pytest.mark.parametrize('damage, reason', REFUSED)
def test_a_damaged_checkpoint_is_refused_with_the_reason(store, saved, damage, reason):
    damage(store, saved)
    with pytest.raises(CheckpointError, match=reason) as error:
        load_checkpoint(store, saved.uri, ROBOT)
    assert saved.uri in str(error.value)


@pytest.mark.parametrize(
    'robot, reason',
    [
        (replace(ROBOT, digest='e' * 64), 'another robot specification'),
        (replace(ROBOT, joint_names=('left/waist', 'left/hand')), 'lacks .*left/hand'),
        (replace(ROBOT, joint_names=ROBOT.joint_names[::-1]), 'joint order differs: action 0'),
        (replace(ROBOT, control_rate=50.0), 'made for 25.0 Hz'),
    ],
)
def test_a_checkpoint_of_another_robot_is_refused(store, saved, robot, reason):
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(store, saved, robot)


def test_another_chunk_length_or_digest_than_expected_is_refused(store, saved):
    with pytest.raises(CheckpointError, match='chunk length is 8 .* 16'):
        load_checkpoint(store, saved, ROBOT, horizon=16)
    with pytest.raises(CheckpointError, match='announced was'):
        load_checkpoint(store, replace(saved, digest='f' * 64))
    with pytest.raises(CheckpointError, match='no checkpoint'):
        load_checkpoint(store, 'f' * 64)
    with pytest.raises(CheckpointError, match='no digest'):
        load_checkpoint(store, '../../etc')


@pytest.mark.parametrize(
    'block, reason',
    [
        ({'mean': [0.0, 0.0], 'std': [1.0, 0.0]}, r'std\[1\] is 0.0, must be above 0'),
        ({'mean': [0.0, 0.0], 'std': [-1.0, 1.0]}, r'std\[0\] is -1.0'),
        ({'mean': [0.0], 'std': [1.0]}, 'has 1 entries, must have 2'),
        ({'mean': [0.0], 'std': [1.0, 1.0]}, 'mean has 1 entries, must have 2'),
        ({'mean': [0.0, 1e30], 'std': [1.0, 1.0]}, 'beyond'),
        ({'mean': ['x', 0.0], 'std': [1.0, 1.0]}, 'not a list of numbers'),
        ({'low': [0.0, 1.0], 'high': [1.0, 1.0]}, r'low\[1\] is 1.0, must be below'),
    ],
)
def test_insane_normalisation_is_refused_when_saving_and_when_loading(store, saved, block, reason):
    with pytest.raises(CheckpointError, match=reason):
        save_checkpoint(store, contents(normalization={'action': block}))
    rewrite(store, saved, normalization=json.dumps({'action': block}).encode())
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(store, saved.uri)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(store, value):
    with pytest.raises(CheckpointError, match='tensor w has 1 values that are not finite'):
        save_checkpoint(store, contents(tensors={'w': np.array([1.0, value], np.float32)}))
    assert store.list() == []


@pytest.mark.parametrize('head', [b'\x80\x04', b'PK'])
def test_header_length_that_looks_like_a_pickle_is_no_pickle(head):
    ckpt.check_safetensors_header('policy.safetensors', head.ljust(8, b'\0') + b'{}')

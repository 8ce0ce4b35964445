# SPDX-License-Identifier: Apache-2.0
"""A bucket is a store like a folder: over HTTP, against an S3 server on loopback."""

import contextlib
import hashlib
import os
from pathlib import Path
import socket
import sys
import threading
import time

import numpy as np
import obstore
from obstore.store import MemoryStore
import pytest

from lwd_core.checkpoint import (
    CheckpointContents,
    list_checkpoints,
    load_checkpoint,
    read_channel,
    save_checkpoint,
    set_channel,
)
from lwd_core.robot import RobotSpec
from lwd_core.store import open_store, Store, StoreAwayError, StoreError
from lwd_core.stores import bucket as bucket_module
from lwd_core.stores.bucket import BucketStore

sys.path.insert(0, str(Path(__file__).parent))
from s3_server import environment_of, KEY, s3_server, SECRET

ROOT = Path(__file__).resolve().parents[3]
ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')


@pytest.fixture(scope='module')
def server():
    with s3_server() as environment:
        yield environment


@pytest.fixture
def away(tmp_path):
    with environment_of({'AWS_ENDPOINT_URL': 'http://127.0.0.1:9', 'AWS_REGION': 'us-east-1',
                         'AWS_ACCESS_KEY_ID': KEY, 'AWS_SECRET_ACCESS_KEY': SECRET,
                         'LWD_CACHE': str(tmp_path / 'cache')}):
        yield open_store('s3://fleet/x')


@pytest.fixture(params=['s3', 'memory'])
def store(request, tmp_path):
    """Return an empty bucket over HTTP, and one in memory whose ETags say nothing."""
    if request.param == 'memory':
        yield BucketStore('s3://memory', MemoryStore(), tmp_path / 'cache')
        return
    environment = request.getfixturevalue('server')
    with environment_of({**environment, 'LWD_CACHE': str(tmp_path / 'cache')}):
        yield open_store(f's3://fleet/{tmp_path.name}')


@pytest.fixture
def folder(tmp_path):
    """Return an episode-like folder whose largest file takes several parts."""
    path = tmp_path / 'source'
    path.mkdir()
    noise = np.random.default_rng(0).bytes(2 * bucket_module.PART_BYTES + 5)
    (path / 'ep_0.mcap').write_bytes(noise)
    (path / 'metadata.yaml').write_text('a: 1')
    (path / 'episode.json').write_text('{}')
    return path


def test_an_object_that_was_put_can_be_got_listed_and_replaced(store, tmp_path):
    store.put('episodes/r/a.json', b'1')
    store.put('episodes/r/a.json', b'22')
    (tmp_path / 'empty').write_bytes(b'')
    store.put('episodes/r/empty', tmp_path / 'empty')
    assert store.get('episodes/r/a.json') == b'22' and store.get('episodes/r/empty') == b''
    assert store.list('episodes') == ['episodes/r/a.json', 'episodes/r/empty'] == store.list()
    assert store.children('episodes') == ['r'] and store.children() == ['episodes']
    assert store.exists('episodes/r/a.json') and not store.exists('episodes/r')
    assert isinstance(store, Store)


def test_what_is_not_there_is_named(store):
    for call in (store.get, store.digest):
        with pytest.raises(StoreError, match='a/b is not an object') as error:
            call('a/b')
        assert not isinstance(error.value, OSError), 'asking again would not help'
    assert not store.exists('a/b') and store.list('a') == [] == store.children('a')
    assert store.marked('a', 'm.json') == []


@pytest.mark.parametrize('rel', ['', '/etc/passwd', '../a', 'a/../../b', 'a//b', './a', '.hidden',
                                 'a\\b', 'x' * 600, 'a/'])
def test_a_path_that_may_lead_outside_is_refused(store, rel):
    for call in (store.get, store.exists, store.local, store.digest,
                 lambda rel: store.put(rel, b'')):
        with pytest.raises(StoreError, match='refused'):
            call(rel)


def test_names_that_others_wrote_never_become_paths_outside(tmp_path):
    objects = MemoryStore()
    for name in ('e/1/..%2f..%2fevil', 'e/1/.bashrc', 'e/1/ok', 'e/1/a b'):
        obstore.put(objects, name, b'x')
    store = BucketStore('s3://memory', objects, tmp_path / 'cache')
    assert store.list() == ['e/1/ok']
    assert [path.name for path in store.local('e/1').iterdir() if path.name[0] != '.'] == ['ok']


def test_a_directory_arrives_in_parts_marker_last_and_can_be_read_here(store, folder, monkeypatch):
    order, real = [], obstore.put
    monkeypatch.setattr(obstore, 'put', lambda objects, path, *a, **k: (
        order.append(path.rsplit('/', 1)[-1]), real(objects, path, *a, **k))[1])
    paced = []
    store.put_dir(folder, 'episodes/r/d/1', 'episode.json', pace=paced.append)
    assert order == ['ep_0.mcap', 'metadata.yaml', 'episode.json']
    assert sum(paced) == sum(path.stat().st_size for path in folder.iterdir())
    assert max(paced) == bucket_module.PART_BYTES
    assert store.marked('episodes/r/d', 'episode.json') == ['1']
    local = store.local('episodes/r/d/1')
    for path in folder.iterdir():
        assert (local / path.name).read_bytes() == path.read_bytes()
    assert folder.exists()
    store.put_dir(folder, 'episodes/r/d/1', 'episode.json', move=True)
    assert not folder.exists(), 'the same again is no error'


def test_what_arrived_before_a_cut_is_not_sent_again(store, folder, monkeypatch):
    real = obstore.put

    def cut(objects, path, *arguments, **options):
        if path.endswith('metadata.yaml'):
            raise obstore.exceptions.GenericError('connection closed')
        return real(objects, path, *arguments, **options)

    monkeypatch.setattr(obstore, 'put', cut)
    with pytest.raises(StoreAwayError, match='does not answer: connection closed'):
        store.put_dir(folder, 'e/1', 'episode.json')
    assert store.marked('e', 'episode.json') == []
    monkeypatch.setattr(obstore, 'put', real)
    paced = []
    store.put_dir(folder, 'e/1', 'episode.json', pace=paced.append)
    assert sum(paced) == len('a: 1') + len('{}')


def hang_up(one):
    """Close a socket although another thread waits for it: closing alone would not end that."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


class Line:
    """A TCP line to a server that goes dead for a while once `dead_at` bytes went up it."""

    def __init__(self, server, dead_at, seconds):
        self._server, self._dead_at, self._seconds = server, dead_at, seconds
        self.sent = 0
        self.dead_until = 0.0
        self._open = []
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{self._listener.getsockname()[1]}'
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            if time.monotonic() < self.dead_until:
                here.close()
                continue
            there = socket.create_connection(self._server)
            self._open += [here, there]
            for source, target in ((here, there), (there, here)):
                threading.Thread(target=self._carry, args=(source, target, source is here),
                                 daemon=True).start()

    def _carry(self, source, target, up):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self.sent += up * len(data)
                if not self.dead_until and self.sent > self._dead_at:
                    self.dead_until = time.monotonic() + self._seconds
                    for one in list(self._open):
                        hang_up(one)
                target.sendall(data)
        hang_up(source)
        hang_up(target)

    def close(self):
        self._listener.close()


def test_a_large_file_that_is_cut_off_goes_on_at_the_part_where_it_was(server, tmp_path):
    """Five parts; the line is dead for longer than other requests are tried again."""
    part = bucket_module.PART_BYTES
    data = np.random.default_rng(1).bytes(5 * part)
    (tmp_path / 'big').mkdir()
    (tmp_path / 'big/ep_0.mcap').write_bytes(data)
    (tmp_path / 'big/episode.json').write_text('{}')
    host, port = server['AWS_ENDPOINT_URL'].removeprefix('http://').split(':')
    line = Line((host, int(port)), dead_at=int(3.5 * part), seconds=2.5)
    values = {**server, 'AWS_ENDPOINT_URL': line.url, 'LWD_CACHE': str(tmp_path / 'cache')}
    with environment_of(values), contextlib.closing(line):
        url = f's3://fleet/{tmp_path.name}'
        open_store(url).put_dir(tmp_path / 'big', 'e/1', 'episode.json', pace=lambda size: None)
        assert line.dead_until, 'the line was never cut'
        assert open_store(url).digest('e/1/ep_0.mcap') == hashlib.sha256(data).hexdigest()
        # Two parts may have been under way; whoever starts again sends all five twice.
        assert line.sent < 5 * part + 2.5 * part, line.sent / part


def test_another_directory_of_the_same_name_is_refused(store, folder):
    store.put_dir(folder, 'e/1', 'episode.json')
    (folder / 'episode.json').write_text('{"other": 1}')
    with pytest.raises(StoreError, match='already in the store'):
        store.put_dir(folder, 'e/1', 'episode.json')
    assert store.get('e/1/episode.json') == b'{}'


def test_only_folders_with_the_marker_are_there_and_what_is_known_is_not_asked_again(
        store, monkeypatch):
    for name in ('1', '2', '3'):
        store.put(f'e/{name}/m.json', b'')
    store.put('e/4/other.json', b'')
    assert store.marked('e', 'm.json') == ['1', '2', '3']
    asked, real = [], obstore.head
    monkeypatch.setattr(obstore, 'head', lambda o, path: (asked.append(path), real(o, path))[1])
    store.put('e/4/m.json', b'')
    assert store.marked('e', 'm.json') == ['1', '2', '3', '4'] and asked == ['e/4/m.json']
    store.delete_dir('e/1', 'm.json')
    assert store.marked('e', 'm.json') == ['2', '3', '4'] and store.list('e/1') == []


def test_a_store_that_returns_half_a_file_is_found_out(store, folder, monkeypatch):
    store.put_dir(folder, 'e/1', 'episode.json')
    real = obstore.get

    class Half:
        def __init__(self, answer):
            self.meta, self._answer = answer.meta, answer

        def bytes(self):
            data = bytes(self._answer.bytes())
            return data[:len(data) // 2]

        def stream(self, min_chunk_size):
            yield self.bytes()

    monkeypatch.setattr(obstore, 'get', lambda *arguments: Half(real(*arguments)))
    for call in (store.get, store.digest, store.local):
        with pytest.raises(StoreAwayError, match='returned 8388610 bytes of 16777221'):
            call('e/1/ep_0.mcap')
    cached = [path.name for path in store._cache.path('e/1').iterdir()]
    assert cached == [], 'nothing half stays here'


def test_a_store_that_keeps_half_a_file_confirms_nothing(tmp_path, folder, monkeypatch):
    store = BucketStore('s3://memory', MemoryStore(), tmp_path / 'cache')
    real = obstore.put
    monkeypatch.setattr(obstore, 'put', lambda objects, path, data, **options: real(
        objects, path, b''.join([data] if isinstance(data, bytes) else data)[:1000]))
    with pytest.raises(StoreAwayError, match='differs from what was sent'):
        store.put_dir(folder, 'e/1', 'episode.json')
    assert store.marked('e', 'episode.json') == []


def test_a_copy_is_fetched_again_only_when_the_object_changed(store, monkeypatch):
    store.put('e/1/m.json', b'1')
    path = store.local('e/1/m.json')
    assert path.read_bytes() == b'1'
    fetched, real = [], obstore.get
    monkeypatch.setattr(obstore, 'get', lambda o, path: (fetched.append(path), real(o, path))[1])
    store.local('e/1')
    assert fetched == []
    store.put('e/1/m.json', b'2')
    assert store.local('e/1/m.json').read_bytes() == b'2' and fetched == ['e/1/m.json']


def test_the_copies_are_bounded_and_what_was_read_last_stays(tmp_path, monkeypatch):
    monkeypatch.setenv('LWD_CACHE_GIB', '1e-5')  # 10.7 kB
    store = BucketStore('s3://memory', MemoryStore(), tmp_path / 'cache')
    for number in range(8):
        store.put(f'e/{number}/bag', bytes(3000))
        path = store.local(f'e/{number}/bag')
        os.utime(path, (number, number))
    kept = sorted(path.parent.name for path in (tmp_path / 'cache').rglob('bag'))
    assert 1 <= len(kept) <= 4 and kept[-1] == '7'


def test_sizes_are_bounded(store):
    store.put('a', bytes(100))
    with pytest.raises(StoreError, match='a has 100 bytes, at most 99'):
        store.get('a', limit=99)


def test_a_store_that_does_not_answer_says_so_and_names_no_secret(away, caplog):
    for call in (lambda: away.get('a'), lambda: away.exists('a'), lambda: away.children('a'),
                 lambda: away.put('a', b'x'), lambda: away.local('a')):
        with pytest.raises(StoreAwayError) as error:
            call()
        assert 's3://fleet/x does not answer' in str(error.value)
        text = f'{error.value!r} {error.value.__cause__!r} {away!r} {caplog.text}'
        assert SECRET not in text and KEY not in text


@pytest.mark.parametrize('url', [
    's3://key:secret@bucket/x', 's3://secret@bucket', 's3://bucket/x?access_key=secret', 's3://',
    's3://bucket/../x', 's3://bucket/a b'])
def test_a_url_with_credentials_or_nonsense_is_refused_without_repeating_them(url):
    with pytest.raises(StoreError) as error:
        open_store(url)
    assert 'secret' not in str(error.value)


def test_a_checkpoint_is_published_found_and_loaded_over_the_bucket(store):
    contents = CheckpointContents(
        config={'horizon': 8, 'action_dim': ROBOT.action_dim},
        tensors={'w': np.ones((3, 2), np.float32)}, normalization=normalization(),
        step=7, parent=None, robot=ROBOT)
    ref = save_checkpoint(store, contents)
    set_channel(store, 'stable', ref)
    assert read_channel(store, 'stable') == ref and list_checkpoints(store) == [ref]
    again = load_checkpoint(store, ref.digest, ROBOT)
    assert np.array_equal(again.tensors['w'], np.ones((3, 2)))
    store.delete_dir(ref.uri, 'manifest.json')
    assert list_checkpoints(store) == []


def normalization():
    ends = {'type': 'quantile', 'low': [-1.0] * ROBOT.action_dim, 'high': [1.0] * ROBOT.action_dim}
    return {'joints': ends, 'actions': ends}

# SPDX-License-Identifier: Apache-2.0
"""The store shows whole files only, and nothing outside it."""

import errno
import os

import pytest

from lwd_core.store import FolderStore, open_store, Store, StoreError


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / 'store')


def test_a_file_that_was_put_can_be_got_listed_and_replaced(store):
    store.put('episodes/r/a.json', b'1')
    store.put('episodes/r/a.json', b'22')
    assert store.get('episodes/r/a.json') == b'22'
    assert store.list('episodes') == ['episodes/r/a.json'] == store.list()
    assert store.children('episodes') == ['r']
    assert isinstance(store, Store)


def test_a_file_on_disk_can_be_put(store, tmp_path):
    (tmp_path / 'big').write_bytes(b'x' * 5000)
    store.put('big', tmp_path / 'big')
    assert store.get('big') == b'x' * 5000


@pytest.mark.parametrize(
    'rel', ['', '/etc/passwd', '../a', 'a/../../b', 'a//b', './a', '.hidden', 'a/.b', 'a\\b', 'a b',
            'a\0', 'x' * 600, 'a/', '~']
)
def test_a_path_that_may_lead_outside_is_refused(store, rel):
    for call in (store.get, store.exists, store.local, lambda rel: store.put(rel, b'')):
        with pytest.raises(StoreError, match='refused'):
            call(rel)


def test_a_link_that_leads_outside_is_refused(store, tmp_path):
    (store.path / 'out').symlink_to(tmp_path)
    with pytest.raises(StoreError, match='outside'):
        store.put('out/a', b'')


def test_what_is_not_there_is_named(store):
    with pytest.raises(StoreError, match='a/b is not a file'):
        store.get('a/b')
    assert not store.exists('a/b')
    assert store.list('a') == [] == store.children('a')
    with pytest.raises(StoreError, match='does not exist'):
        FolderStore(store.path / 'no', create=False)
    with pytest.raises(StoreError, match='ftp://.* refused'):
        open_store('ftp://user:secret@host')


def test_a_full_disk_leaves_the_old_content_and_no_rubbish(store, monkeypatch):
    store.put('a.json', b'old')

    def full(handle):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space'):
        store.put('a.json', b'new')
    assert store.get('a.json') == b'old'
    assert os.listdir(store.path) == ['a.json']


def test_half_written_files_are_not_listed(store):
    store.put('a', b'')
    (store.path / '.a.123.tmp').write_bytes(b'')
    (store.path / 'b.mcap.partial').write_bytes(b'')
    assert store.list() == ['a']


@pytest.mark.parametrize('move', [False, True])
def test_a_directory_gets_its_marker_last(store, tmp_path, monkeypatch, move):
    source = tmp_path / 'source'
    source.mkdir()
    for name in ('a_marker.json', 'b', 'c'):
        (source / name).write_text(name)
    order = []
    real = os.replace
    monkeypatch.setattr(
        os, 'replace', lambda a, b: (order.append(os.path.basename(b)), real(a, b))
    )
    store.put_dir(source, 'e/1', 'a_marker.json', move=move)
    assert order == ['b', 'c', 'a_marker.json']
    assert store.get('e/1/b') == b'b'
    assert source.exists() is not move


def test_a_directory_without_its_marker_or_already_there_is_not_put(store, tmp_path):
    source = tmp_path / 'source'
    source.mkdir()
    (source / 'b').write_text('b')
    with pytest.raises(StoreError, match='not complete'):
        store.put_dir(source, 'e/1', 'm.json')
    assert store.list() == []
    (source / 'm.json').write_text('m')
    store.put_dir(source, 'e/1', 'm.json')
    store.put_dir(source, 'e/1', 'm.json')  # the same again: what was confirmed twice
    (source / 'm.json').write_text('another')
    with pytest.raises(StoreError, match='already'):
        store.put_dir(source, 'e/1', 'm.json')
    assert store.get('e/1/m.json') == b'm'


def test_only_folders_with_the_marker_are_there(store):
    store.put('e/1/m.json', b'')
    store.put('e/2/other.json', b'')
    assert store.marked('e', 'm.json') == ['1'] and store.marked('no', 'm.json') == []

# SPDX-License-Identifier: Apache-2.0
"""Listing stays cheap with 100,000 episodes: bounded in looks and requests, not in time."""

import os

import obstore
from obstore.store import MemoryStore
import pytest

from lwd_core.episode import list_episodes
from lwd_core.episode.meta import META
from lwd_core.store import FolderStore
from lwd_core.stores import folder as folder_module
from lwd_core.stores.bucket import BucketStore

EPISODES, DAYS = 100_000, 100


def test_a_folder_looks_once_a_day_at_what_was_complete(tmp_path, monkeypatch):
    """1,000 episodes of 100,000 are made as files; a look costs the same whatever is beside it."""
    store = FolderStore(tmp_path)
    count = EPISODES // 100
    for number in range(count):
        folder = tmp_path / f'episodes/r/day{number % DAYS:03}/ep{number:06}'
        folder.mkdir(parents=True)
        (folder / META).touch()
    monkeypatch.setattr(folder_module, '_SETTLED', -1.0)
    assert len(list_episodes(store)) == count
    looks = []
    for name in ('isfile',):
        real = getattr(os.path, name)
        monkeypatch.setattr(os.path, name, lambda path, real=real: (looks.append(path),
                                                                    real(path))[1])
    assert len(list_episodes(store)) == count and looks == []
    new = tmp_path / 'episodes/r/day007/ep999999'
    new.mkdir()
    assert len(list_episodes(store)) == count, 'not complete yet'
    looks.clear()
    (new / META).touch()
    assert len(list_episodes(store)) == count + 1
    assert len(looks) == count // DAYS + 1, 'that day only'


def test_an_episode_completed_within_one_tick_of_the_clock_is_not_overlooked(tmp_path):
    store = FolderStore(tmp_path)
    for number in range(20):
        (tmp_path / f'e/{number:02}').mkdir(parents=True)
        (tmp_path / f'e/{number:02}' / META).touch()
        assert len(store.marked('e', META)) == number + 1


@pytest.fixture(scope='module')
def fleet():
    """Return a bucket of 100,000 episodes, 300,000 objects."""
    objects = MemoryStore()
    for number in range(EPISODES):
        for name in ('a.mcap', META, 'metadata.yaml'):
            obstore.put(objects, f'episodes/r/day{number % DAYS:03}/ep{number:06}/{name}', b'')
    return objects


def test_a_bucket_asks_once_for_everything_and_then_only_for_names(fleet, tmp_path, monkeypatch):
    store = BucketStore('s3://memory', fleet, tmp_path)
    requests = []
    for name in ('list', 'list_with_delimiter', 'head', 'get'):
        real = getattr(obstore, name)
        monkeypatch.setattr(obstore, name, lambda *a, real=real, name=name, **k: (
            requests.append(name), real(*a, **k))[1])
    assert len(list_episodes(store)) == EPISODES
    assert len(requests) == 2 + 2 * DAYS, 'one listing of names and one of objects a day'
    requests.clear()
    assert len(list_episodes(store)) == EPISODES
    assert requests == ['list_with_delimiter'] * (2 + DAYS), 'a page of 1,000 names a day'
    obstore.put(fleet, f'episodes/r/day007/new/{META}', b'')
    requests.clear()
    assert len(list_episodes(store)) == EPISODES + 1
    assert requests.count('head') == 1 and len(requests) == 3 + DAYS
    obstore.delete(fleet, f'episodes/r/day007/new/{META}')

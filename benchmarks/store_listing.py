# SPDX-License-Identifier: Apache-2.0
"""What does it cost to list 100,000 episodes, the first time and every time after?

A folder store on this disk, 100 days of 1,000 episodes, against `os.scandir` of the same tree, the
least anybody can do; and a bucket store over an object store in memory, whose requests are counted:
over a network each costs a round trip and returns 1,000 names. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import tempfile
import time
from typing import Any

import obstore
from obstore.store import MemoryStore

from lwd_core.episode import list_episodes
from lwd_core.episode.meta import META
from lwd_core.store import FolderStore, Store
from lwd_core.stores.bucket import BucketStore

DAYS = 100
TARGET = 0.1  # s for a listing of a store that has not changed
ROUND_TRIP = 0.03  # s to a bucket, for the estimate


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--episodes', type=int, default=100_000)
    parser.add_argument('--full', action='store_true', help='three times')
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        _make_folders(top, options.episodes)
        time.sleep(2.1)  # a store that is not being written
        scans = [_timed(lambda: _scan(top))[0] for _ in range(3)]
        rounds = [_listings(FolderStore(top), options.episodes)
                  for _ in range(3 if options.full else 1)]
    first, again = (sorted(times)[len(times) // 2] for times in zip(*rounds))
    bucket = _bucket(options.episodes)
    scan = sorted(scans)[1]
    print(f'folder, {options.episodes} episodes: first {first:.2f} s, again {1e3 * again:.1f} ms; '
          f'scandir alone {scan:.2f} s [{min(scans):.2f}, {max(scans):.2f}]')
    print(f'bucket: first {bucket["first"]:.2f} s and {bucket["first_pages"]} pages, again '
          f'{bucket["again"]:.2f} s and {bucket["again_pages"]} pages, about '
          f'{bucket["again_pages"] * ROUND_TRIP:.1f} s at {1e3 * ROUND_TRIP:.0f} ms a round trip')
    print(json.dumps({
        'benchmark': 'store_listing', 'value': round(again, 4), 'unit': 's, unchanged folder store',
        'peer': 'scandir of the same tree', 'ratio': round(again / scan, 4), 'target': TARGET,
        'met': again <= TARGET, 'seconds': round(time.monotonic() - began, 1),
        'episodes': options.episodes, 'first_s': round(first, 3),
        'first_ratio': round(first / scan, 3), 'bucket': bucket,
        'load_average': round(os.getloadavg()[0], 2)}))


def _make_folders(top: Path, episodes: int) -> None:
    for number in range(episodes):
        folder = top / f'episodes/r/day{number % DAYS:03}/ep{number:06}'
        folder.mkdir(parents=True)
        for name in ('a.mcap', META, 'metadata.yaml'):
            (folder / name).touch()


def _scan(top: Path) -> int:
    """Return how many episodes hold their marker, looking at every folder."""
    found = 0
    for day in os.scandir(top / 'episodes/r'):
        for episode in os.scandir(day.path):
            found += os.path.isfile(f'{episode.path}/{META}')
    return found


def _timed(call: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def _listings(store: Store, episodes: int) -> tuple[float, float]:
    """Return the seconds of the first listing, and of one more."""
    (first, found), (again, same) = (_timed(lambda: list_episodes(store)) for _ in range(2))
    assert len(found) == episodes and found == same
    return first, again


def _bucket(episodes: int) -> dict[str, float]:
    objects = MemoryStore()
    for number in range(episodes):
        for name in ('a.mcap', META, 'metadata.yaml'):
            obstore.put(objects, f'episodes/r/day{number % DAYS:03}/ep{number:06}/{name}', b'')
    pages = [0]
    _count_pages(pages)
    with tempfile.TemporaryDirectory() as cache:
        store = BucketStore('s3://memory', objects, Path(cache))
        first, _ = _timed(lambda: list_episodes(store))
        first_pages, pages[0] = pages[0], 0
        again, _ = _timed(lambda: list_episodes(store))
    return {'first': round(first, 3), 'first_pages': first_pages, 'again': round(again, 3),
            'again_pages': pages[0]}


def _count_pages(pages: list[int]) -> None:
    """Count requests as a server that returns 1,000 entries a page would see them."""
    real_list, real_delimited = obstore.list, obstore.list_with_delimiter

    def delimited(*arguments: Any) -> Any:
        found = real_delimited(*arguments)
        pages[0] += max(1, -(-(len(found['common_prefixes']) + len(found['objects'])) // 1000))
        return found

    def listed(*arguments: Any, **options: Any) -> Any:
        for page in real_list(*arguments, **options):
            pages[0] += 1
            yield page

    obstore.list, obstore.list_with_delimiter = listed, delimited  # type: ignore[assignment]


if __name__ == '__main__':
    main()

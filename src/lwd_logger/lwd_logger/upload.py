# SPDX-License-Identifier: Apache-2.0
"""Bring finished episodes from the robot's own folder to the store, without ROS.

<local>/episodes/<robot>/<date>/<id>/         as the recorder handed them over
<local>/.uploaded/<robot>/<date>/<id>.json    the store holds it: digests were compared

An episode leaves the local folder only when the store has confirmed it and the retention policy
lets go of it. One `step` does one thing and says how long to wait; nothing here waits by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
import enum
import json
from pathlib import Path
import random
import shutil
import time

from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.meta import EpisodeMeta, META
from lwd_core.hashing import sha256_file
from lwd_core.store import FolderStore, Store, StoreAwayError, StoreError, write_atomic
from lwd_logger.config import MIB, UploaderParams
from lwd_logger.lock import Lock, Log

RECORDS = '.uploaded'
_RATE_SPAN = 60.0  # s the reported rate is the mean of
_PATIENCE = 5  # failures of one episode, after which the others are no longer kept waiting
_RETAIN_PERIOD = 60.0  # s between two looks at what may go


class UploadState(enum.IntEnum):
    """As in lwd_msgs/UploadStatus."""

    IDLE = 0
    UPLOADING = 1
    RETRYING = 2
    FAULT = 3


@dataclass
class Progress:
    """What the uploader says of itself."""

    state: UploadState = UploadState.IDLE
    reason: str = ''
    episode_id: str = ''
    pending_episodes: int = 0
    pending_bytes: int = 0
    uploaded_episodes: int = 0
    uploaded_bytes: int = 0
    failures: int = 0
    retry_in: float = 0.0
    refused: dict[str, str] = field(default_factory=dict)  # episode path -> why, for good


@dataclass(frozen=True)
class UploadClocks:
    """Time as the uploader sees it; tests replace it."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


class Pacer:
    """Keeps a rate [bytes/s] by sleeping before each piece; 0 is no limit."""

    def __init__(self, rate: float, clocks: UploadClocks, moved: Callable[[int], None]) -> None:
        self._rate = rate
        self._clocks = clocks
        self._moved = moved
        self._free_at = 0.0

    def __call__(self, size: int) -> None:
        """Wait until `size` more bytes may be sent."""
        self._moved(size)
        if self._rate <= 0.0:
            return
        now = self._clocks.monotonic()
        begin = max(self._free_at, now)
        self._free_at = begin + size / self._rate
        if begin > now:
            self._clocks.sleep(begin - now)


class Uploader:
    """One robot's episodes, from `local` to `remote`; one thread at a time."""

    def __init__(self, robot: str, local: FolderStore, remote: Store, params: UploaderParams,
                 log: Log, clocks: UploadClocks | None = None,
                 report: Callable[[Progress], None] = lambda progress: None) -> None:
        self.progress = Progress()
        self._prefix = f'episodes/{robot}'
        self._local = local
        self._remote = remote
        self._params = params
        self._log = log
        self._clocks = clocks or UploadClocks()
        self._report = report
        self._records = local.path / RECORDS / robot
        self._lock = Lock(self._records / '.lock', 'uploader')
        self._known: dict[str, int] = {}  # path -> mtime [ns] of the episode.json confirmed
        self._next_retain = 0.0
        self._failed: dict[str, int] = {}  # path -> attempts
        self._moved: deque[tuple[float, int]] = deque()
        self._pace = Pacer(params.rate_limit * 1e6, self._clocks, self._on_moved)

    def close(self) -> None:
        """Let another uploader have the episodes."""
        self._lock.close()

    @property
    def bytes_per_second(self) -> float:
        """Return the mean rate of the last minute."""
        since = self._clocks.monotonic() - _RATE_SPAN
        while self._moved and self._moved[0][0] < since:
            self._moved.popleft()
        return sum(size for _, size in self._moved) / _RATE_SPAN

    def fault(self, reason: str) -> None:
        """Say what went wrong; the next step that does something says something else."""
        self.progress.state, self.progress.reason = UploadState.FAULT, reason
        self._log('error', reason)
        self._report(self.progress)

    def step(self) -> float:
        """Upload the oldest episode that waits, or tidy up; return s to wait until the next."""
        waiting = self._waiting()
        self.progress.pending_episodes = len(waiting)
        self.progress.pending_bytes = sum(map(self._size, waiting))
        if not waiting:
            self._rest()
            return self._params.poll_period
        # What the store keeps refusing waits behind what it may take.
        path = min(waiting, key=lambda path: (self._failed.get(path, 0) >= _PATIENCE,
                                              path.split('/')[2:]))
        return self._upload(path)

    def _waiting(self) -> list[str]:
        """Return what is not confirmed as it is now, refused episodes left out."""
        return [path for path in self._episodes()
                if path not in self.progress.refused and not self._confirmed(path)]

    def _episodes(self) -> list[str]:
        return [f'{self._prefix}/{date}/{name}'
                for date in self._local.children(self._prefix)
                for name in self._local.marked(f'{self._prefix}/{date}', META)]

    def _upload(self, path: str) -> float:
        progress = self.progress
        progress.state, progress.reason = UploadState.UPLOADING, ''
        progress.episode_id, progress.retry_in = path.rsplit('/', 1)[-1], 0.0
        self._report(progress)
        try:
            waits = self._size(path)
            size = self._bring(path)
        except (OSError, StoreAwayError) as error:
            return self._retry(path, error)
        except (EpisodeError, StoreError) as error:  # another try would not help
            progress.refused[path] = str(error)
            self.fault(f'{path} cannot be uploaded, it stays here: {error}')
            return 0.0
        self._failed.clear()
        progress.uploaded_episodes += 1
        progress.uploaded_bytes += size
        progress.pending_episodes -= 1
        progress.pending_bytes -= waits
        progress.state, progress.episode_id = UploadState.IDLE, ''
        self._log('info', f'{path}: {size / 1e6:.1f} MB confirmed by {self._remote.url}')
        self._report(progress)
        return 0.0

    def _bring(self, path: str) -> int:
        """Put the episode into the store and have it confirmed; return its size in bytes."""
        folder = self._local.local(path)
        meta = EpisodeMeta.read(folder)
        bag = str(meta.bag.get('file', ''))
        if not bag or '/' in bag or not (folder / bag).is_file():
            raise EpisodeError('missing', f'{folder}: bag {bag!r} is not there')
        digest = sha256_file(folder / META)
        if sha256_file(folder / bag) != meta.bag.get('sha256'):
            raise EpisodeError('damaged', f'{folder / bag}: sha256 differs from {META}')
        if self._remote.exists(f'{path}/{META}') and self._marker_changed(path):
            self._remote.put(f'{path}/{META}', folder / META)  # somebody labelled it here
        else:
            self._remote.put_dir(folder, path, META, pace=self._pace)
        digests = {META: digest}
        if self._params.read_back:
            digests[bag] = str(meta.bag['sha256'])
        self._compare(path, digests)
        write_atomic(self._record(path), json.dumps({
            META: digest, 'store': self._remote.url, 'confirmed': self._clocks.wall(),
            'bytes': self._size(path)}).encode())
        return self._size(path)

    def _compare(self, path: str, digests: dict[str, str]) -> None:
        """Have the store give back what it holds; what differs is removed, to be sent again."""
        for name, digest in digests.items():
            if self._remote.digest(f'{path}/{name}') != digest:
                self._remote.delete_dir(path, META)
                raise StoreAwayError(f'{path}/{name}: the store gives back other bytes than it '
                                     'was given; removed there, to be sent again')

    def _marker_changed(self, path: str) -> bool:
        """Say whether this episode was confirmed before, with another episode.json."""
        record = _read(self._record(path))
        return bool(record) and record.get(META) != sha256_file(self._local.local(path) / META)

    def _confirmed(self, path: str) -> bool:
        """Say whether the store holds this episode with its present episode.json."""
        marker = self._local.local(path) / META
        try:
            changed = marker.stat().st_mtime_ns
            if self._known.get(path) != changed:
                record = _read(self._record(path))
                if record.get('store') != self._remote.url or (
                        record.get(META) != sha256_file(marker)):
                    return False
                self._known[path] = changed
        except FileNotFoundError:
            return True  # somebody removed it
        return True

    def _retry(self, path: str, error: Exception) -> float:
        """Return how long to wait: twice as long each time, with jitter, at most `retry_max`."""
        count = self._failed[path] = self._failed.get(path, 0) + 1
        total = sum(self._failed.values())
        longest = min(self._params.retry_max, self._params.retry_min * 2.0 ** min(total - 1, 30))
        wait = longest * (0.5 + 0.5 * self._clocks.jitter())
        progress = self.progress
        progress.failures += 1
        progress.state, progress.retry_in = UploadState.RETRYING, wait
        progress.reason = f'{path}: attempt {count} failed: {error}'
        level = 'warning' if count == 1 else 'info'
        self._log(level, f'{progress.reason}; next try in {wait:.0f} s, nothing is lost')
        self._report(progress)
        return wait

    def _rest(self) -> None:
        progress = self.progress
        self._retain()
        if progress.refused:
            path, reason = next(iter(progress.refused.items()))
            progress.state = UploadState.FAULT
            progress.reason = (f'{len(progress.refused)} episodes cannot be uploaded; {path}: '
                               f'{reason}')
        else:
            progress.state, progress.reason = UploadState.IDLE, ''
        progress.episode_id, progress.retry_in = '', 0.0
        self._report(progress)

    def _retain(self) -> None:
        """Remove confirmed episodes that are too old or too many, oldest first."""
        if self._clocks.monotonic() < self._next_retain:
            return
        self._next_retain = self._clocks.monotonic() + _RETAIN_PERIOD
        kept = sorted((_number(record, 'confirmed'), _number(record, 'bytes'), path)
                      for path in self._episodes() if self._confirmed(path)
                      for record in (_read(self._record(path)),))
        total = sum(size for _, size, _ in kept)
        for confirmed, size, path in kept:
            age = (self._clocks.wall() - confirmed) / 86400.0
            if not self._must_go(age, total):
                break
            total -= size
            self._local.delete_dir(path, META)
            self._known.pop(path, None)
            self._log('info', f'{path}: removed here, {self._remote.url} confirmed it '
                              f'{age:.1f} days ago')

    def _must_go(self, age: float, total: float) -> bool:
        params = self._params
        return (age > params.keep_days or total > params.keep_gib * (1 << 30)
                or shutil.disk_usage(self._local.path).free < params.keep_free_mib * MIB)

    def _record(self, path: str) -> Path:
        _, _, date, name = path.split('/')
        return self._records / date / f'{name}.json'

    def _size(self, path: str) -> int:
        return sum(entry.stat().st_size for entry in self._local.local(path).iterdir())

    def _on_moved(self, size: int) -> None:
        self._moved.append((self._clocks.monotonic(), size))


def _number(record: dict[str, object], key: str) -> float:
    value = record.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _read(path: Path) -> dict[str, object]:
    """Return a record; {} if it is not there or not whole: then the store is asked again."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}

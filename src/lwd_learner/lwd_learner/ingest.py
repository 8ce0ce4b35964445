# SPDX-License-Identifier: Apache-2.0
"""From the store's episodes to arrays: each once, audited, refused with a reason, never a crash.

An episode exists in the store when its episode.json is there. It is read through lwd_core's
`read_episode`, becomes an EpisodeArrays cached in `<work_dir>/arrays/`, and gets its row in
`<work_dir>/index.sqlite` last: killed in between, the same episode is simply converted again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import fcntl
import logging
import os
from pathlib import Path
import shutil

from lwd_core.episode import read_episode
from lwd_core.episode.errors import TRANSIENT
from lwd_core.flow.trunk import KeypointTrunk
from lwd_core.hashing import sha256_bytes
from lwd_core.store import make_dirs, Store, StoreError
from lwd_learner.conversion import convert_job, Converted, IngestSettings, Job, Reader
from lwd_learner.episodes import EpisodeArrays, EpisodeArraysError
from lwd_learner.index import EpisodeIndex, IndexRow
from lwd_learner.ingest_pool import IngestPool

__all__ = ['Ingest', 'IngestSettings', 'WorkDirError']
LOGGER = logging.getLogger(__name__)
MARKER = 'episode.json'
WORTH_A_WORKER = 4  # episodes that wait, per worker: fewer are done before one has started
FETCHED_AHEAD = 8  # episodes per worker whose files are on this machine at once
MAX_ATTEMPTS = 3  # looks at an episode whose files came broken


class WorkDirError(RuntimeError):
    """The learner's own folder cannot be used."""


class Ingest:
    """Watches one store for one learner."""

    def __init__(
        self, store: Store, work_dir: Path, settings: IngestSettings,
        reader: Reader = read_episode, workers: int | None = None,
    ) -> None:
        """Open the index; raises WorkDirError if another learner has it open.

        workers: processes that convert when many episodes wait; None: one a core, 0: all in this
        process, as with a reader of one's own.
        """
        self.store = store
        self.work_dir = work_dir
        self.settings = settings
        portable = reader is read_episode and isinstance(
            settings.trunk, (KeypointTrunk, type(None)))
        self.workers = (workers if workers is not None else os.cpu_count() or 1) * portable
        self._reader = reader
        make_dirs(work_dir)
        self._lock = _lock(work_dir / 'lock')
        self.index = EpisodeIndex(work_dir / 'index.sqlite')
        self._known = self.index.paths()
        self._attempts: dict[str, int] = {}
        self.rejected = len(self.index.rejected())

    def close(self) -> None:
        """Give the work folder back."""
        self.index.close()
        os.close(self._lock)

    @property
    def online_since(self) -> int | None:
        """Return when the online phase began, wall time in ns; None before."""
        fact = self.index.fact('online_since_ns')
        return None if fact is None else int(fact)

    def go_online(self, now_ns: int) -> None:
        """Begin the online phase, once: what policies record from now on goes to its buffer."""
        if self.online_since is None:
            self.index.set_fact('online_since_ns', str(now_ns))

    def restore(self) -> Iterator[EpisodeArrays]:
        """Yield all episodes of earlier runs from the cache, in the order they came."""
        for row in self.index.used():
            path = self._cache(row.id)
            try:
                yield EpisodeArrays.load(path)
                continue
            except FileNotFoundError:
                LOGGER.warning('episode %s: %s is gone, converting it again', row.id, path)
            except EpisodeArraysError as error:
                LOGGER.warning('episode %s: %s; converting it again', row.id, error)
            _, arrays = convert_job(self._job(row.path, row.digest), self.settings, self._reader)
            if arrays is None:
                LOGGER.error('episode %s: cannot be converted any more', row.id)
                continue
            arrays = arrays.with_origin(row.origin)
            arrays.save(path, durable=False)
            yield arrays

    def poll(self, limit: int | None = None) -> Iterator[EpisodeArrays]:
        """Yield new episodes that can be learned from; at most `limit` are looked at."""
        paths = self.pending()[:limit]
        if self.workers > 1 and len(paths) >= WORTH_A_WORKER * self.workers:
            yield from self._with_workers(paths)
            return
        for path in paths:
            for job in self._jobs([path]):
                yield from self._alone(job)

    def _alone(self, job: Job) -> Iterator[EpisodeArrays]:
        """Convert one episode in this process."""
        converted, arrays = convert_job(job, self.settings, self._reader)
        refused = self._refused(converted)
        if refused is not None or arrays is None:
            self._reject(refused or converted, job.digest)
            return
        arrays.save(self._cache(arrays.episode_id), durable=False)
        yield self._use(converted, job.digest, arrays)

    def _with_workers(self, paths: Sequence[str]) -> Iterator[EpisodeArrays]:
        """Convert in several processes; the order is that of the paths all the same."""
        size = self.workers * FETCHED_AHEAD  # a bucket's episodes are not all fetched at once
        scratch = self.work_dir / 'converting'
        shutil.rmtree(scratch, ignore_errors=True)  # what a killed learner left there
        scratch.mkdir()
        with IngestPool(self.workers, self.settings, scratch) as pool:
            for first in range(0, len(paths), size):
                # A job's file is named by its path until its id is known to be new.
                jobs = [(job, scratch / f'{sha256_bytes(job.path.encode())[:24]}.safetensors')
                        for job in self._jobs(paths[first:first + size])]
                for (job, cache), converted in zip(jobs, pool.convert(jobs)):
                    refused = self._refused(converted)
                    if refused is not None:
                        cache.unlink(missing_ok=True)
                        self._reject(refused, job.digest)
                        continue
                    final = self._cache(converted.id)
                    os.replace(cache, final)
                    yield self._use(converted, job.digest, EpisodeArrays.load(final))

    def _jobs(self, paths: Sequence[str]) -> list[Job]:
        jobs = []
        for path in paths:
            try:
                digest = sha256_bytes(self.store.get(f'{path}/{MARKER}'))
                jobs.append(Job(path, str(self.store.local(path)), digest, self.online_since))
            except (StoreError, FileNotFoundError) as error:  # no verdict: it stays pending
                LOGGER.warning('episode %s: tries again later: %s', path, error)
        return jobs

    def _job(self, path: str, digest: str) -> Job:
        return Job(path, str(self.store.local(path)), digest, self.online_since)

    def pending(self) -> list[str]:
        """Return the store paths of episodes that nobody has looked at, oldest name first."""
        found = []
        for robot in self.store.children('episodes'):
            for date in self.store.children(f'episodes/{robot}'):
                for name in self.store.children(f'episodes/{robot}/{date}'):
                    path = f'episodes/{robot}/{date}/{name}'
                    if path not in self._known and self.store.exists(f'{path}/{MARKER}'):
                        found.append(path)
        return sorted(found, key=lambda path: (path.split('/')[2], path.split('/')[3], path))

    def reconsider(self) -> int:
        """Look again at refused episodes: those whose episode.json changed (somebody labelled
        them), and a few times at those whose files came broken (half a file from a store).

        Return how many. What is learned from already stays as it was learned.
        """
        changed = [row for row in self.index.rejected() if self._changed(row)]
        for row in changed:
            self.index.forget(row.path)
            self._attempts[row.path] = row.attempts
            self._known.discard(row.path)
            self.rejected -= 1
        return len(changed)

    def _changed(self, row: IndexRow) -> bool:
        if row.cause in TRANSIENT and row.attempts < MAX_ATTEMPTS:
            return True
        try:
            return bool(row.digest) and (
                sha256_bytes(self.store.get(f'{row.path}/{MARKER}')) != row.digest)
        except StoreError:
            return False  # gone

    def _refused(self, converted: Converted) -> Converted | None:
        """Return the refusal, if any: its own, or that its id or bag was ingested already."""
        if converted.refused:
            return converted
        name = converted.path.rsplit('/', 1)[-1]
        twin, what = self.index.find(converted.id), f'id {converted.id}'
        if twin is None and (twin := self.index.find_bag(converted.bag)) is not None:
            what = f'the bag of id {converted.id} (sha256 {converted.bag[:12]})'
        if twin is None:
            return None
        return Converted(converted.path, name, True,
                         f'{what} was ingested already, from {twin.path}')

    def _use(self, converted: Converted, digest: str, arrays: EpisodeArrays) -> EpisodeArrays:
        """Record an episode whose arrays are cached."""
        verdict = 'warned' if converted.reason else 'used'
        self.index.record(IndexRow(
            converted.id, digest, converted.path, converted.task, converted.origin, verdict,
            converted.reason, converted.ticks, converted.success, converted.bag))
        self._known.add(converted.path)
        if converted.reason:
            LOGGER.warning('episode %s used with a warning: %s', converted.id, converted.reason)
        return arrays

    def _reject(self, converted: Converted, digest: str) -> None:
        name, path = converted.id, converted.path
        LOGGER.warning('episode %s rejected: %s', name, converted.reason)
        unique = name if self.index.find(name) is None else path
        self.index.record(IndexRow(
            unique, digest, path, verdict='rejected', reason=converted.reason,
            cause=converted.cause, attempts=self._attempts.pop(path, 0) + 1))
        self._known.add(path)
        self.rejected += 1

    def _cache(self, episode_id: str) -> Path:
        folder = self.work_dir / 'arrays'
        folder.mkdir(exist_ok=True)
        return folder / f'{sha256_bytes(episode_id.encode())[:24]}.safetensors'


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise WorkDirError(
            f'{path.parent} is used by another learner: stop it or give another work_dir'
        ) from error
    return handle

# SPDX-License-Identifier: Apache-2.0
"""From the store's episodes to arrays: each once, audited, refused with a reason, never a crash.

An episode exists in the store when its episode.json is there. It is read through lwd_core's
`read_episode`, becomes an EpisodeArrays cached in `<work_dir>/arrays/`, and gets its row in
`<work_dir>/index.sqlite` last: killed in between, the same episode is simply converted again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import fcntl
import logging
import os
from pathlib import Path
from typing import Any

from lwd_core.episode import EpisodeError, read_episode
from lwd_core.flow.inputs import FeatureTrunk
from lwd_core.hashing import sha256_bytes
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_core.store import Store, StoreError
from lwd_learner.config import ReplayConfig
from lwd_learner.convert import audit, Conversion, convert, RejectedEpisode
from lwd_learner.episodes import EpisodeArrays, EpisodeArraysError
from lwd_learner.index import EpisodeIndex, IndexRow

LOGGER = logging.getLogger(__name__)
MARKER = 'episode.json'
# (folder, robot, observation, task names) -> EpisodeData
Reader = Callable[[Path, RobotSpec, ObservationSpec, tuple[str, ...]], Any]


class WorkDirError(RuntimeError):
    """The learner's own folder cannot be used."""


@dataclass(frozen=True)
class IngestSettings:
    """What every episode is read with."""

    robot: RobotSpec
    tasks: tuple[str, ...]
    observation: ObservationSpec
    instruction_dim: int = 64
    replay: ReplayConfig = ReplayConfig()
    trunk: FeatureTrunk | None = None  # pixels: frozen features, once a frame


class Ingest:
    """Watches one store for one learner."""

    def __init__(
        self, store: Store, work_dir: Path, settings: IngestSettings,
        reader: Reader = read_episode,
    ) -> None:
        """Open the index; raises WorkDirError if another learner has it open."""
        self.store = store
        self.work_dir = work_dir
        self.settings = settings
        self._reader = reader
        work_dir.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(work_dir / 'lock')
        self.index = EpisodeIndex(work_dir / 'index.sqlite')
        self._known = self.index.paths()
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
            if not path.is_file():
                LOGGER.warning('episode %s: %s is gone, converting it again', row.id, path)
                conversion = self._convert(row.path, row.digest)
                conversion.arrays.with_origin(row.origin).save(path)
            yield EpisodeArrays.load(path)

    def poll(self, limit: int | None = None) -> Iterator[EpisodeArrays]:
        """Yield new episodes that can be learned from; at most `limit` are looked at."""
        for number, path in enumerate(self.pending()):
            if limit is not None and number >= limit:
                return
            arrays = self._ingest(path)
            if arrays is not None:
                yield arrays

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
        """Look again at refused episodes whose episode.json changed: somebody labelled them.

        Return how many. What is learned from already stays as it was learned.
        """
        changed = [row for row in self.index.rejected() if row.digest and self._changed(row)]
        for row in changed:
            self.index.forget(row.path)
            self._known.discard(row.path)
            self.rejected -= 1
        return len(changed)

    def _changed(self, row: IndexRow) -> bool:
        try:
            return sha256_bytes(self.store.get(f'{row.path}/{MARKER}')) != row.digest
        except StoreError:
            return False  # gone

    def _ingest(self, path: str) -> EpisodeArrays | None:
        """Convert and record one episode; None if it was refused."""
        name, digest = path.rsplit('/', 1)[-1], ''
        try:
            digest = sha256_bytes(self.store.get(f'{path}/{MARKER}'))
            conversion = self._convert(path, digest)
            arrays, name = conversion.arrays, conversion.arrays.episode_id
            twin = self.index.find(name)
            if twin is not None:
                raise RejectedEpisode(f'id {name} was ingested already, from {twin.path}')
        except Exception as error:  # one bad bag must not stop the others, whatever is wrong
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                raise  # the disk or the network, not the bag: look again later
            self._reject(path, name, digest, error)
            return None
        arrays.save(self._cache(arrays.episode_id))
        verdict = 'warned' if conversion.warnings else 'used'
        reason = '; '.join(conversion.warnings)
        self.index.record(IndexRow(
            arrays.episode_id, digest, path, arrays.task, arrays.origin, verdict, reason,
            len(arrays), arrays.success,
        ))
        self._known.add(path)
        if reason:
            LOGGER.warning('episode %s used with a warning: %s', arrays.episode_id, reason)
        return arrays

    def _convert(self, path: str, digest: str) -> Conversion:
        settings = self.settings
        data = self._reader(
            self.store.local(path), settings.robot, settings.observation, settings.tasks)
        arrays = convert(
            data, digest, settings.replay, settings.instruction_dim, settings.trunk,
            self.online_since)
        return Conversion(arrays, audit(
            arrays, settings.replay.min_ticks, data.dropped, data.substituted))

    def _reject(self, path: str, name: str, digest: str, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        known = (EpisodeError, EpisodeArraysError, RejectedEpisode, StoreError, OSError)
        if not isinstance(error, known):
            LOGGER.exception('episode %s: unexpected', name)
            reason = f'{type(error).__name__}: {reason}'
        LOGGER.warning('episode %s rejected: %s', name, reason)
        unique = name if self.index.find(name) is None else path
        self.index.record(IndexRow(unique, digest, path, verdict='rejected', reason=reason))
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

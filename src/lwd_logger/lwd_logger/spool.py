# SPDX-License-Identifier: Apache-2.0
"""The folder bags are written in, and their way from there into the store.

<spool>/<episode_id>/   <episode_id>_0.mcap.partial, then .mcap   metadata.yaml
opened.json while it is being written, episode.json when it is complete
<spool>/broken/         what held not one whole message
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
from pathlib import Path
import shutil

from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.meta import EpisodeMeta, META
from lwd_core.episode.recover import recover
from lwd_core.episode.writer import PARTIAL
from lwd_core.store import (
    fsync_dir,
    make_dirs,
    Store,
    StoreAwayError,
    StoreError,
    write_atomic,
)
from lwd_logger.lock import Lock, Log, SpoolError

__all__ = ['Log', 'Spool', 'SpoolError']
OPENED = 'opened.json'
BROKEN = 'broken'


class Spool:
    """One recorder's spool; a second recorder of the same robot is refused."""

    def __init__(self, path: Path, store: Store, log: Log) -> None:
        self.path = path
        self._store = store
        self._log = log
        make_dirs(path)
        self._lock = Lock(path / '.lock', 'recorder')

    def close(self) -> None:
        """Let another recorder have the spool."""
        self._lock.close()

    def disk_free(self) -> int:
        """Return the bytes free for bags."""
        return shutil.disk_usage(self.path).free

    def folder(self, episode_id: str) -> Path:
        """Return the folder an episode is written in."""
        return self.path / episode_id

    def open(self, opened: EpisodeMeta) -> Path:
        """Prepare the folder of a new episode, with what recovery needs to know; see `sync`."""
        folder = self.folder(opened.id)
        if folder.exists():
            self._move_aside(folder, 'an episode of this name is being recorded again')
        make_dirs(folder)
        write_atomic(folder / OPENED, opened.to_json(), durable=False)
        return folder

    def sync(self, episode_id: str) -> None:
        """Make what `open` prepared survive a power cut; takes a slow disk's time."""
        folder = self.folder(episode_id)
        with open(folder / OPENED, 'rb') as file:
            os.fsync(file.fileno())
        fsync_dir(folder)
        fsync_dir(self.path)

    def complete(self, meta: EpisodeMeta) -> None:
        """Make the episode exist: its bag is closed and durable."""
        folder = self.folder(meta.id)
        meta.write(folder)
        (folder / OPENED).unlink(missing_ok=True)

    def drop(self, episode_id: str) -> None:
        """Remove an episode that never ran."""
        shutil.rmtree(self.folder(episode_id), ignore_errors=True)

    def hand_over(self) -> list[EpisodeMeta]:
        """Move every complete episode into the store; return those that arrived.

        What the store does not take stays and is tried again by the next call.
        """
        arrived = []
        for folder in self._folders():
            if (folder / META).is_file() and (meta := self._hand_over(folder)):
                arrived.append(meta)
        return arrived

    def recover(self, fallback: EpisodeMeta, only: str = '') -> None:
        """Complete what an earlier recorder left behind; move aside what holds nothing.

        fallback: what to assume of an episode whose opened.json is lost. only: this episode.
        """
        for folder in self._folders():
            if (folder / META).is_file() or (only and folder.name != only):
                continue
            try:
                if not any(folder.iterdir()):
                    folder.rmdir()  # killed when all was in the store already
                    continue
                self._recover(folder, fallback)
            except (OSError, EpisodeError) as error:
                self._log('error', f'{folder.name}: not recovered yet, nothing is lost: {error}')

    def _recover(self, folder: Path, fallback: EpisodeMeta) -> None:
        found = recover(folder, _opened(folder, fallback))
        if found is None:
            self._move_aside(folder, 'it holds not one whole message')
            return
        (folder / OPENED).unlink(missing_ok=True)
        loss = f'; lost: {found.lost}' if found.lost else '; all that was written'
        self._log('warning', f'{folder.name}: recovered {found.messages} messages of an episode '
                             f'that was not closed, outcome {found.meta.outcome}{loss}')

    def _hand_over(self, folder: Path) -> EpisodeMeta | None:
        try:
            meta = EpisodeMeta.read(folder)
            for leftover in (OPENED, f'{meta.id}_0.mcap{PARTIAL}'):
                (folder / leftover).unlink(missing_ok=True)
            for temporary in folder.glob('.*.tmp'):  # of a write that was killed: no part of it
                temporary.unlink()
            self._store.put_dir(folder, meta.store_path, META, move=True)
            return meta
        except (OSError, StoreAwayError) as error:
            self._log('error', f'{folder.name}: the store did not take it, kept in {folder}, next '
                               f'try follows: {error}')
        except (EpisodeError, StoreError) as error:  # another try would not help
            self._move_aside(folder, str(error))
        return None

    def _move_aside(self, folder: Path, why: str) -> None:
        target = self.path / BROKEN / folder.name
        make_dirs(target.parent)
        number = 1
        while target.exists():
            target = target.with_name(f'{folder.name}.{number}')
            number += 1
        os.replace(folder, target)
        self._log('error', f'{folder.name}: moved aside to {target}: {why}')

    def _folders(self) -> Iterator[Path]:
        for path in sorted(self.path.iterdir()):
            if path.is_dir() and path.name != BROKEN and not path.name.startswith('.'):
                yield path


def _opened(folder: Path, fallback: EpisodeMeta) -> EpisodeMeta:
    with contextlib.suppress(OSError, EpisodeError):
        return EpisodeMeta.from_json((folder / OPENED).read_bytes(), str(folder))
    return EpisodeMeta(**{**vars(fallback), 'id': folder.name})

# SPDX-License-Identifier: Apache-2.0
"""What ingest has seen, in SQLite: every episode once, also after kill -9."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import sqlite3
import time
from typing import Any

SCHEMA = '''
CREATE TABLE IF NOT EXISTS episodes (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    path TEXT NOT NULL UNIQUE,
    task TEXT NOT NULL DEFAULT '',
    origin TEXT NOT NULL DEFAULT '',
    verdict TEXT NOT NULL CHECK (verdict IN ('used', 'warned', 'rejected')),
    reason TEXT NOT NULL DEFAULT '',
    ticks INTEGER NOT NULL DEFAULT 0,
    success INTEGER,
    ingested REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
'''
# What older index files lack, by PRAGMA user_version; each entry leads to the next version.
MIGRATIONS = (
    # 1: the bag itself counts once, whatever it is called; refusals may be looked at again
    "ALTER TABLE episodes ADD COLUMN bag TEXT NOT NULL DEFAULT '';"
    'ALTER TABLE episodes ADD COLUMN attempts INTEGER NOT NULL DEFAULT 1;'
    "ALTER TABLE episodes ADD COLUMN cause TEXT NOT NULL DEFAULT '';"
    'CREATE INDEX episodes_bag ON episodes (bag);',
)
_COLUMNS = ('id', 'digest', 'path', 'task', 'origin', 'verdict', 'reason', 'ticks', 'success',
            'bag', 'attempts', 'cause')


@dataclass(frozen=True)
class IndexRow:
    """One episode as ingest saw it."""

    id: str
    digest: str  # sha256 of episode.json, which holds the bag's
    path: str  # in the store
    task: str = ''
    origin: str = ''
    verdict: str = 'used'  # 'used' | 'warned' (used too) | 'rejected'
    reason: str = ''
    ticks: int = 0
    success: bool | None = None
    bag: str = ''  # sha256 of the bag; '' where it is not known
    attempts: int = 1  # how often it was looked at
    cause: str = ''  # EpisodeError.reason of a refusal


class IndexFileError(RuntimeError):
    """The index cannot be used; the message names the file and the next step."""


class EpisodeIndex:
    """The table of episodes. One writer; readers may open it at any time (WAL)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # one thread at a time uses it, but not always the one that opened it
        self._db = sqlite3.connect(path, check_same_thread=False)
        try:
            self._db.execute('PRAGMA journal_mode=WAL')
            self._db.execute('PRAGMA synchronous=FULL')
            self._db.executescript(SCHEMA)
            self._migrate(path)
        except sqlite3.DatabaseError as error:
            self._db.close()
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, or the disk is full: not the file's fault
            raise IndexFileError(f'{path} is not an index ({error}): move it away; every episode '
                                 'of the store is ingested again') from error

    def _migrate(self, path: Path) -> None:
        version = int(self._db.execute('PRAGMA user_version').fetchone()[0])
        if version > len(MIGRATIONS):
            raise IndexFileError(f'{path} has version {version}, this software knows up to '
                                 f'{len(MIGRATIONS)}: update it')
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            # one transaction: a crash leaves the old version or the new one
            self._db.executescript(f'BEGIN; {script} PRAGMA user_version = {number}; COMMIT;')

    def close(self) -> None:
        """Close the database; everything recorded is on disk already."""
        self._db.close()

    def paths(self) -> set[str]:
        """Return the store paths that need no second look."""
        return {path for (path,) in self._db.execute('SELECT path FROM episodes')}

    def find(self, episode_id: str) -> IndexRow | None:
        """Return the row of an episode id."""
        rows = self._rows('WHERE id = ?', (episode_id,))
        return rows[0] if rows else None

    def find_bag(self, sha256: str) -> IndexRow | None:
        """Return the row of an episode that is learned from and has this bag."""
        rows = self._rows("WHERE bag = ? AND verdict != 'rejected'", (sha256,)) if sha256 else []
        return rows[0] if rows else None

    def record(self, row: IndexRow) -> None:
        """Add one row durably."""
        success = None if row.success is None else int(row.success)
        values = [success if name == 'success' else getattr(row, name) for name in _COLUMNS]
        marks = ', '.join('?' * (len(_COLUMNS) + 1))
        with self._db:
            self._db.execute(
                f'INSERT INTO episodes ({", ".join(_COLUMNS)}, ingested) VALUES ({marks})',
                (*values, time.time()))

    def forget(self, path: str) -> None:
        """Remove a refused episode's row, so that it is looked at again."""
        with self._db:
            self._db.execute(
                "DELETE FROM episodes WHERE path = ? AND verdict = 'rejected'", (path,))

    def used(self) -> list[IndexRow]:
        """Return the episodes that are learned from, in the order they were ingested."""
        return self._rows("WHERE verdict != 'rejected' ORDER BY sequence")

    def rejected(self) -> list[IndexRow]:
        """Return the refused episodes with their reasons."""
        return self._rows("WHERE verdict = 'rejected' ORDER BY sequence")

    def fact(self, name: str) -> str | None:
        """Return a remembered fact."""
        row = self._db.execute('SELECT value FROM facts WHERE name = ?', (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        """Remember a fact durably."""
        with self._db:
            self._db.execute(
                'INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = '
                'excluded.value', (name, value))

    def _rows(self, where: str, values: tuple[str, ...] = ()) -> list[IndexRow]:
        query = f'SELECT {", ".join(_COLUMNS)} FROM episodes {where}'
        cursor = self._db.execute(query, values)
        cursor.row_factory = sqlite3.Row
        return [_row(dict(row)) for row in cursor]


def _row(fields: dict[str, Any]) -> IndexRow:
    success = fields.pop('success')
    return IndexRow(**fields, success=None if success is None else bool(success))

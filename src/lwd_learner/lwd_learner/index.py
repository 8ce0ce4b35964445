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


class EpisodeIndex:
    """The table of episodes. One writer; readers may open it at any time (WAL)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # one thread at a time uses it, but not always the one that opened it
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute('PRAGMA journal_mode=WAL')
        self._db.execute('PRAGMA synchronous=FULL')
        self._db.executescript(SCHEMA)

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

    def record(self, row: IndexRow) -> None:
        """Add one row durably."""
        success = None if row.success is None else int(row.success)
        with self._db:
            self._db.execute(
                'INSERT INTO episodes (id, digest, path, task, origin, verdict, reason, ticks, '
                'success, ingested) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
                (row.id, row.digest, row.path, row.task, row.origin, row.verdict, row.reason,
                 row.ticks, success, time.time()),
            )

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
        query = ('SELECT id, digest, path, task, origin, verdict, reason, ticks, success '
                 f'FROM episodes {where}')
        cursor = self._db.execute(query, values)
        cursor.row_factory = sqlite3.Row
        return [_row(dict(row)) for row in cursor]


def _row(fields: dict[str, Any]) -> IndexRow:
    success = fields.pop('success')
    return IndexRow(**fields, success=None if success is None else bool(success))

# SPDX-License-Identifier: Apache-2.0
"""Which pieces are done, in SQLite: several processes share it, and a killed run goes on."""

from __future__ import annotations

from collections.abc import Iterable
import json
import os
from pathlib import Path
import sqlite3
import time
from typing import Any

from _table.plan import Piece

SCHEMA = '''
CREATE TABLE IF NOT EXISTS pieces (
    name TEXT PRIMARY KEY, worker INTEGER, began REAL, seconds REAL, result TEXT, error TEXT);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
'''


class Ledger:
    """A piece is open (no row), taken (worker, no result), done (result) or failed (error)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        self._db.executescript(SCHEMA)

    def settle(self, fact: str, value: Any) -> None:
        """Remember what a run is of; ValueError if the folder holds another run."""
        text = json.dumps(value, sort_keys=True)
        self._db.execute('INSERT OR IGNORE INTO facts VALUES (?, ?)', (fact, text))
        (found,), = self._db.execute('SELECT value FROM facts WHERE name = ?', (fact,))
        if found != text:
            raise ValueError(f'the ledger is of another {fact} ({found}): remove the folder, or '
                             'give --out another one')

    def release_dead(self) -> int:
        """Open pieces whose process is gone, and failed ones; return how many."""
        rows = self._db.execute(
            'SELECT name, worker, error FROM pieces WHERE result IS NULL').fetchall()
        gone = [name for name, worker, error in rows if error or not _alive(worker)]
        self._db.executemany('DELETE FROM pieces WHERE name = ?', [(name,) for name in gone])
        return len(gone)

    def take(self, pieces: Iterable[Piece]) -> Piece | None:
        """Claim the first piece that is open and whose needs are done; None if there is none."""
        done = set(self.results())
        for piece in pieces:
            if piece.name in done or not done.issuperset(piece.needs):
                continue
            cursor = self._db.execute(
                'INSERT OR IGNORE INTO pieces (name, worker, began) VALUES (?, ?, ?)',
                (piece.name, os.getpid(), time.time()))
            if cursor.rowcount:
                return piece
        return None

    def finish(self, piece: Piece, result: dict[str, Any]) -> None:
        """Record a result durably."""
        self._db.execute('UPDATE pieces SET result = ?, seconds = ? - began WHERE name = ?',
                         (json.dumps(result), time.time(), piece.name))

    def fail(self, piece: Piece, error: str) -> None:
        """Record why a piece could not be done; the next run tries again."""
        self._db.execute('UPDATE pieces SET error = ? WHERE name = ?', (error, piece.name))

    def results(self) -> dict[str, dict[str, Any]]:
        """Return the results by piece, each with 'seconds'."""
        return {name: {**json.loads(result), 'seconds': seconds} for name, result, seconds in
                self._db.execute('SELECT name, result, seconds FROM pieces WHERE result NOT NULL')}

    def errors(self) -> dict[str, str]:
        """Return the errors by piece."""
        return dict(self._db.execute('SELECT name, error FROM pieces WHERE error NOT NULL'))

    def taken(self) -> list[str]:
        """Return the pieces somebody works on."""
        return [name for name, in self._db.execute(
            'SELECT name FROM pieces WHERE result IS NULL AND error IS NULL')]


def _alive(worker: int | None) -> bool:
    if worker is None:
        return False
    try:
        os.kill(worker, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True

# SPDX-License-Identifier: Apache-2.0
"""Content stamps: a step runs again only when what it was made from has changed."""
from __future__ import annotations

from collections.abc import Iterable
import hashlib
import os
from pathlib import Path


def digest(parts: Iterable[str | Path]) -> str:
    """Return one hash over strings and files' contents; a missing file counts as absent."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            data = part.read_bytes() if part.is_file() else b'\0absent'
            data = str(part.name).encode() + b'\0' + data
        else:
            data = part.encode()
        total.update(len(data).to_bytes(8, 'big'))
        total.update(data)
    return total.hexdigest()


class Stamps:
    """One small file per finished step, written only after the step has succeeded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, step: str) -> str | None:
        """Return the recorded value of a step, or None."""
        try:
            return (self._folder / step).read_text()
        except FileNotFoundError:
            return None

    def current(self, step: str, value: str) -> bool:
        """Return whether the step was finished with exactly this value."""
        return self.read(step) == value

    def write(self, step: str, value: str) -> None:
        """Record that the step is finished; atomic, so an interruption never half-records it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f'{step}.partial'
        partial.write_text(value)
        os.replace(partial, self._folder / step)

    def forget(self, step: str) -> None:
        """Remove the record: the step is about to change what it made."""
        (self._folder / step).unlink(missing_ok=True)

    def steps(self) -> set[str]:
        """Return the names of all recorded steps."""
        if not self._folder.is_dir():
            return set()
        return {path.name for path in self._folder.iterdir() if path.suffix != '.partial'}

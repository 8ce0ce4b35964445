# SPDX-License-Identifier: Apache-2.0
"""One process a folder, and how the package says things."""

from __future__ import annotations

from collections.abc import Callable
import fcntl
from pathlib import Path

from lwd_core.store import make_dirs

Log = Callable[[str, str], None]  # level ('info', 'warning', 'error'), text


class SpoolError(RuntimeError):
    """A folder of the recorder or the uploader cannot be used."""


class Lock:
    """Held until `close`, or until the process is gone, however it went."""

    def __init__(self, path: Path, what: str) -> None:
        """`what` uses the folder of `path`; SpoolError if another one does already."""
        make_dirs(path.parent)
        self._file = open(path, 'w')
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise SpoolError(f'{path.parent} is in use by another {what}: two {what}s for one '
                             'robot; stop one, or give it another folder') from error

    def close(self) -> None:
        """Let somebody else have it."""
        self._file.close()

# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, and whom they are for."""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import secrets
import shutil

# Bags show people and their homes: owner and group, nobody else. The umask may take more away.
FILE_MODE = 0o640
DIR_MODE = 0o750

# Called with a number of bytes before they are sent; sleeps where a rate is to be kept.
Pace = Callable[[int], None]


def make_dirs(path: Path) -> None:
    """Create a folder and those above it that are missing, closed to others."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        try:
            folder.mkdir(DIR_MODE)
        except FileExistsError:
            if not folder.is_dir():
                raise


def close_to_others(path: Path) -> None:
    """Take from others what a library left them of a file, or of a folder and all in it."""
    for one in (path, *(path.rglob('*') if path.is_dir() else ())):
        one.chmod(one.stat().st_mode & (DIR_MODE if one.is_dir() else FILE_MODE))


def create(path: Path, flags: int = os.O_EXCL) -> int:
    """Return a descriptor to write the file `path`, new unless `flags` say otherwise."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, FILE_MODE)


def fsync_dir(path: Path) -> None:
    """Make a folder's entries durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes | Path, durable: bool = True) -> None:
    """Write a file that is seen whole or not at all, also after a power cut.

    A failure (a full disk) leaves the old content and no temporary file. Not `durable`: it survives
    a killed process, and a power cut once somebody syncs it.
    """
    make_dirs(path.parent)
    # A leading dot keeps the half-written file out of every listing.
    temporary = path.with_name(f'.{path.name}.{secrets.token_hex(4)}.tmp')
    try:
        with open(create(temporary), 'wb') as file:
            if isinstance(data, Path):
                with open(data, 'rb') as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            else:
                file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        fsync_dir(path.parent)

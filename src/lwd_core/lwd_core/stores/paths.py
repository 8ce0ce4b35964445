# SPDX-License-Identifier: Apache-2.0
"""Names inside a store, and what goes wrong with a store."""

from __future__ import annotations

from collections.abc import Iterable
import os
from pathlib import Path, PurePosixPath
import re
import stat

_PART = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.+=-]*')
_MAX_PATH_CHARS = 512
MAX_GET_BYTES = 8 << 30  # of one file in memory
Names = list[str]  # inside a class with a `list` method, `list[str]` would mean the method


class StoreError(RuntimeError):
    """The store cannot do what was asked; the message names the path and the next step."""


class StoreAwayError(StoreError, OSError):
    """The store does not answer. Nothing is wrong with what was asked: ask again later.

    An OSError too, as a disk that fails is: what handles the one handles the other.
    """


def check_relative(rel: str) -> str:
    """Return `rel` if it names something inside a store; StoreError otherwise."""
    parts = PurePosixPath(rel).parts
    inside = rel != '' and len(rel) <= _MAX_PATH_CHARS and '/'.join(parts) == rel
    if not inside or not all(_PART.fullmatch(part) for part in parts):
        raise StoreError(
            f'store path {rel!r} refused: use relative names of letters, digits and _ . + = - '
            f'separated by "/", at most {_MAX_PATH_CHARS} characters, no part starting with "."'
        )
    return rel


def visible(name: str) -> bool:
    """Say whether a file of this name is shown: not if hidden or still being written."""
    return _PART.fullmatch(name) is not None and not name.endswith('.partial')


def folder_files(source: Path, marker: str) -> Names:
    """Return the files of a folder that is to be put, `marker` last; StoreError if it cannot be.

    Links are refused: what they lead to was not recorded here.
    """
    try:
        entries = sorted(os.scandir(source), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f'{source} is not a folder: nothing was put') from error
    for entry in entries:
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode) and not entry.is_dir(
                follow_symlinks=False):
            raise StoreError(f'{entry.path} is a link or no file: nothing was put, remove it')
    return _marker_last(source, marker, (entry.name for entry in entries if entry.is_file()))


def _marker_last(source: Path, marker: str, names: Iterable[str]) -> Names:
    found = [check_relative(name) for name in names]
    if marker not in found:
        raise StoreError(f'{source} has no {marker}: it is not complete, nothing was put')
    return [name for name in found if name != marker] + [marker]

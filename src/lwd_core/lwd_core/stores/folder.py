# SPDX-License-Identifier: Apache-2.0
"""A store in a folder, local or mounted."""

from __future__ import annotations

from collections.abc import Iterator
import errno
import os
from pathlib import Path
import shutil
import time
from typing import BinaryIO

from lwd_core.hashing import sha256_file
from lwd_core.stores.files import create, fsync_dir, make_dirs, Pace, write_atomic
from lwd_core.stores.paths import (
    check_relative,
    folder_files,
    MAX_GET_BYTES,
    Names,
    StoreAwayError,
    StoreError,
    visible,
)

_COPY_BYTES = 1 << 20  # between two calls of `pace`
_SETTLED = 2.0  # s; a folder changed less than this ago may change again within one tick of mtime


class FolderStore:
    """A store in a folder of a file system. Many processes may use it at the same time."""

    def __init__(self, path: Path | str, create: bool = True) -> None:
        """Open the folder `path`; create it unless `create` is False."""
        self.path = Path(path).expanduser().resolve()
        self._complete: dict[tuple[str, str], tuple[int, Names]] = {}
        if create:
            make_dirs(self.path)
        if not self.path.is_dir():
            raise StoreError(f'store folder {self.path} does not exist: create it or fix `store`')

    def __repr__(self) -> str:
        return f'FolderStore({str(self.path)!r})'

    @property
    def url(self) -> str:
        """Return how this store is named."""
        return str(self.path)

    def local(self, rel: str) -> Path:
        """Return the absolute path of `rel`; refuse what a link leads outside the store."""
        path = self.path / check_relative(rel)
        if not path.resolve().is_relative_to(self.path):
            raise StoreError(f'store path {rel!r} refused: it leads outside {self.path}')
        return path

    def put(self, rel: str, data: bytes | Path) -> None:
        """Write one file whole, replacing what was there."""
        write_atomic(self.local(rel), data)

    def get(self, rel: str, limit: int = MAX_GET_BYTES) -> bytes:
        """Return one file's content; StoreError if it is not there or longer than `limit`."""
        try:
            with open(self.local(rel), 'rb') as file:
                if (size := os.fstat(file.fileno()).st_size) > limit:
                    raise StoreError(f'{rel} has {size} bytes, at most {limit}: not read')
                return file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise StoreError(f'{rel} is not a file of the store {self.path}') from error

    def exists(self, rel: str) -> bool:
        """Say whether a file of this name is there, whole."""
        return self.local(rel).is_file()

    def digest(self, rel: str) -> str:
        """Return the sha256 of a file as the store gives it back."""
        try:
            return sha256_file(self.local(rel))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise StoreError(f'{rel} is not a file of the store {self.path}') from error

    def list(self, prefix: str = '') -> Names:
        """Return the sorted paths of all whole files under the folder `prefix`."""
        top = self.local(prefix) if prefix else self.path
        return sorted(path.relative_to(self.path).as_posix() for path in _walk(top))

    def children(self, prefix: str = '') -> Names:
        """Return the sorted names directly under the folder `prefix`."""
        top = self.local(prefix) if prefix else self.path
        try:
            return sorted(name for name in os.listdir(top) if not name.startswith('.'))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def marked(self, prefix: str, marker: str) -> Names:
        """Return the sorted names of the folders under `prefix` that hold the file `marker`.

        One look per folder the first time, one per `prefix` afterwards: while all its folders are
        complete, only its own time of change is looked at.
        """
        top = self.local(prefix)
        check_relative(marker)
        try:
            changed = top.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return []
        known = self._complete.get((prefix, marker))
        if known and known[0] == changed:
            return list(known[1])
        children = self.children(prefix)
        found = [name for name in children if os.path.isfile(f'{top}/{name}/{marker}')]
        if len(found) == len(children) and time.time() - changed / 1e9 > _SETTLED:
            self._complete[prefix, marker] = changed, list(found)
        return found

    def put_dir(self, source: Path, rel: str, marker: str, move: bool = False,
                pace: Pace | None = None) -> None:
        """Put the files of the folder `source` under `rel`, the file named `marker` last.

        With `move` the source's files are renamed where that is possible and the source is gone
        afterwards. What an earlier call left half done is gone on with. A directory whose marker
        is already there is complete: the same one is no error, another one is refused.
        """
        target = self.local(rel)
        names = folder_files(source, marker)
        if (target / marker).is_file():
            if (target / marker).read_bytes() != (source / marker).read_bytes():
                raise StoreError(f'{rel} is already in the store {self.path}, with another '
                                 f'{marker}: nothing was put')
        else:
            make_dirs(target)
            for name in names:
                _put_file(source / name, target / name, move, pace)
            fsync_dir(target.parent)
        if move:
            shutil.rmtree(source)

    def delete_dir(self, rel: str, marker: str) -> None:
        """Remove a folder, its marker first: whoever is just reading sees that it is going."""
        folder = self.local(rel)
        (folder / marker).unlink(missing_ok=True)
        if folder.is_dir():
            shutil.rmtree(folder)


def _walk(top: Path) -> Iterator[Path]:
    """Yield the visible files under `top`."""
    for folder, subfolders, names in os.walk(top):
        subfolders[:] = [name for name in subfolders if not name.startswith('.')]
        for name in names:
            if visible(name):
                yield Path(folder) / name


def _put_file(source: Path, target: Path, move: bool, pace: Pace | None) -> None:
    if move:
        try:
            os.replace(source, target)
            fsync_dir(target.parent)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:  # another file system: copy instead
                raise
    copy_resumed(source, target, pace)


def copy_resumed(source: Path, target: Path, pace: Pace | None = None) -> None:
    """Copy a file, going on where an earlier call stopped; it has its name once it is whole.

    What arrived is read back and compared: a mounted store may lose what it acknowledged.
    """
    if target.is_file() and target.stat().st_size == source.stat().st_size and (
            sha256_file(target) == sha256_file(source)):
        return
    partial = target.with_name(f'.{target.name}.part')
    with open(source, 'rb') as original, open(create(partial, 0), 'r+b') as copy:
        _skip_same(original, copy)
        while piece := original.read(_COPY_BYTES):
            if pace is not None:
                pace(len(piece))
            copy.write(piece)
        copy.truncate()
        copy.flush()
        os.fsync(copy.fileno())
    if sha256_file(partial) != sha256_file(source):
        partial.unlink()
        raise StoreAwayError(f'{target}: what the store holds differs from what was sent: thrown '
                             'away, to be sent again')
    os.replace(partial, target)
    fsync_dir(target.parent)


def _skip_same(original: BinaryIO, copy: BinaryIO) -> None:
    """Move both files behind what they have in common."""
    while True:
        at = copy.tell()
        mine = copy.read(_COPY_BYTES)
        theirs = original.read(_COPY_BYTES)
        if not mine or mine != theirs:
            copy.seek(at)
            original.seek(at)
            return

# SPDX-License-Identifier: Apache-2.0
"""The store where robots and learner meet: named files that appear whole or not at all.

A directory that must appear whole (an episode, a checkpoint) is put with a *marker* file, written
last: whoever lists the store looks for markers, so a half-written directory is never seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import errno
import os
from pathlib import Path, PurePosixPath
import re
import secrets
import shutil
from typing import Protocol, runtime_checkable

_PART = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.+=-]*')
_MAX_PATH_CHARS = 512
Names = list[str]  # inside a class with a `list` method, `list[str]` would mean the method


class StoreError(RuntimeError):
    """The store cannot do what was asked; the message names the path and the next step."""


@runtime_checkable
class Store(Protocol):
    """What every store offers. Paths are relative, with '/', and never start with a dot."""

    def put(self, rel: str, data: bytes | Path) -> None:
        """Write one file whole, replacing what was there."""

    def get(self, rel: str) -> bytes:
        """Return one file's content; StoreError if it is not there."""

    def exists(self, rel: str) -> bool:
        """Say whether a file of this name is there, whole."""

    def list(self, prefix: str = '') -> Names:
        """Return the sorted paths of all whole files under the folder `prefix`."""

    def children(self, prefix: str = '') -> Names:
        """Return the sorted names directly under the folder `prefix`."""

    def marked(self, prefix: str, marker: str) -> Names:
        """Return the sorted names of the folders under `prefix` that hold the file `marker`."""

    def put_dir(self, source: Path, rel: str, marker: str, move: bool = False) -> None:
        """Put the files of the folder `source` under `rel`, the file named `marker` last."""

    def local(self, rel: str) -> Path:
        """Return a path on this machine holding the file or folder `rel`."""


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


def fsync_dir(path: Path) -> None:
    """Make a folder's entries durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes | Path) -> None:
    """Write a file that is seen whole or not at all, also after a power cut.

    A failure (a full disk) leaves the old content and no temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A leading dot keeps the half-written file out of every listing.
    temporary = path.with_name(f'.{path.name}.{secrets.token_hex(4)}.tmp')
    try:
        with open(temporary, 'xb') as file:
            if isinstance(data, Path):
                with open(data, 'rb') as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


class FolderStore:
    """A store in a folder of a file system. Many processes may use it at the same time."""

    def __init__(self, path: Path | str, create: bool = True) -> None:
        """Open the folder `path`; create it unless `create` is False."""
        self.path = Path(path).expanduser().resolve()
        if create:
            self.path.mkdir(parents=True, exist_ok=True)
        if not self.path.is_dir():
            raise StoreError(f'store folder {self.path} does not exist: create it or fix `store`')

    def __repr__(self) -> str:
        return f'FolderStore({str(self.path)!r})'

    def local(self, rel: str) -> Path:
        """Return the absolute path of `rel`; refuse what a link leads outside the store."""
        path = self.path / check_relative(rel)
        if not path.resolve().is_relative_to(self.path):
            raise StoreError(f'store path {rel!r} refused: it leads outside {self.path}')
        return path

    def put(self, rel: str, data: bytes | Path) -> None:
        """Write one file whole, replacing what was there."""
        write_atomic(self.local(rel), data)

    def get(self, rel: str) -> bytes:
        """Return one file's content; StoreError if it is not there."""
        try:
            return self.local(rel).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise StoreError(f'{rel} is not a file of the store {self.path}') from error

    def exists(self, rel: str) -> bool:
        """Say whether a file of this name is there, whole."""
        return self.local(rel).is_file()

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

        One look per folder: 100,000 episodes are listed in about a second.
        """
        top = self.local(prefix)
        check_relative(marker)
        return [name for name in self.children(prefix) if os.path.isfile(f'{top}/{name}/{marker}')]

    def put_dir(self, source: Path, rel: str, marker: str, move: bool = False) -> None:
        """Put the files of the folder `source` under `rel`, the file named `marker` last.

        With `move` the source's files are renamed where that is possible and the source is gone
        afterwards. A directory whose marker is already there is complete and not touched again.
        """
        target = self.local(rel)
        names = _flat_names(source)
        if marker not in names:
            raise StoreError(f'{source} has no {marker}: it is not complete, nothing was put')
        for name in names:
            check_relative(name)
        if (target / marker).is_file():
            raise StoreError(f'{rel} is already in the store {self.path}: nothing was put')
        target.mkdir(parents=True, exist_ok=True)
        for name in [name for name in names if name != marker] + [marker]:
            _put_file(source / name, target / name, move)
        fsync_dir(target.parent)
        if move:
            source.rmdir()


def _walk(top: Path) -> Iterator[Path]:
    """Yield the visible files under `top`."""
    for folder, subfolders, names in os.walk(top):
        subfolders[:] = [name for name in subfolders if not name.startswith('.')]
        for name in _visible(names):
            yield Path(folder) / name


def _visible(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith('.') and not name.endswith('.partial')]


def _flat_names(source: Path) -> list[str]:
    try:
        return sorted(path.name for path in source.iterdir() if path.is_file())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f'{source} is not a folder: nothing was put') from error


def _put_file(source: Path, target: Path, move: bool) -> None:
    if move:
        try:
            os.replace(source, target)
            fsync_dir(target.parent)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:  # another file system: copy instead
                raise
    write_atomic(target, source)
    if move:
        source.unlink()


def open_store(where: str | Path) -> Store:
    """Open the store that a `store` parameter names: a folder (buckets come with a URL scheme)."""
    text = str(where)
    if '://' in text and not text.startswith('file://'):
        raise StoreError(f'store {text!r}: only folders are supported; give a path')
    return FolderStore(text.removeprefix('file://'))

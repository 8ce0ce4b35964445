# SPDX-License-Identifier: Apache-2.0
"""The store where robots and learner meet: named files that appear whole or not at all.

A directory that must appear whole (an episode, a checkpoint) is put with a *marker* file, written
last: whoever lists the store looks for markers, so a half-written directory is never seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from lwd_core.stores.files import (
    close_to_others,
    DIR_MODE,
    FILE_MODE,
    fsync_dir,
    make_dirs,
    Pace,
    write_atomic,
)
from lwd_core.stores.folder import FolderStore
from lwd_core.stores.paths import (
    check_relative,
    MAX_GET_BYTES,
    Names,
    StoreAwayError,
    StoreError,
)

__all__ = [
    'DIR_MODE', 'FILE_MODE', 'FolderStore', 'Pace', 'Store', 'StoreAwayError', 'StoreError',
    'check_relative', 'close_to_others', 'fsync_dir', 'is_bucket', 'make_dirs', 'open_store',
    'write_atomic',
]
_BUCKETS = ('s3://',)


@runtime_checkable
class Store(Protocol):
    """What every store offers. Paths are relative, with '/', and never start with a dot.

    A store that does not answer raises StoreAwayError, which is an OSError too.
    """

    @property
    def url(self) -> str:
        """Return how this store is named; never holds credentials."""

    def put(self, rel: str, data: bytes | Path) -> None:
        """Write one file whole, replacing what was there."""

    def get(self, rel: str, limit: int = MAX_GET_BYTES) -> bytes:
        """Return one file's content; StoreError if it is not there or longer than `limit`."""

    def exists(self, rel: str) -> bool:
        """Say whether a file of this name is there, whole."""

    def digest(self, rel: str) -> str:
        """Return the sha256 of a file as the store gives it back."""

    def list(self, prefix: str = '') -> Names:
        """Return the sorted paths of all whole files under the folder `prefix`."""

    def children(self, prefix: str = '') -> Names:
        """Return the sorted names directly under the folder `prefix`."""

    def marked(self, prefix: str, marker: str) -> Names:
        """Return the sorted names of the folders under `prefix` that hold the file `marker`."""

    def put_dir(self, source: Path, rel: str, marker: str, move: bool = False,
                pace: Pace | None = None) -> None:
        """Put the files of the folder `source` under `rel`, the file named `marker` last.

        What an earlier call left half done is gone on with; the same folder twice is no error.
        """

    def delete_dir(self, rel: str, marker: str) -> None:
        """Remove a folder, its marker first."""

    def local(self, rel: str) -> Path:
        """Return a path on this machine holding the file or folder `rel`, to read."""


def is_bucket(where: str | Path) -> bool:
    """Say whether `where` names a bucket, so that nobody takes it for a path."""
    return str(where).startswith(_BUCKETS)


def open_store(where: str | Path, create: bool = True) -> Store:
    """Open the store that a `store` parameter names: a folder, or `s3://bucket/prefix`.

    create: make the folder if it is not there. Credentials come from the environment only.
    """
    text = str(where)
    if is_bucket(text):
        from lwd_core.stores.bucket import open_bucket
        return open_bucket(text)
    if '://' in text and not text.startswith('file://'):
        scheme = text.partition('://')[0]
        raise StoreError(f'store {scheme}://... refused: give a folder or s3://bucket/prefix')
    return FolderStore(text.removeprefix('file://'), create)

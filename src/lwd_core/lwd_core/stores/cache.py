# SPDX-License-Identifier: Apache-2.0
"""Copies of a bucket's objects on this machine, bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import hashlib
import os
from pathlib import Path
from typing import Any

from lwd_core.stores.files import create, make_dirs, write_atomic
from lwd_core.stores.paths import check_relative, StoreAwayError

_DEFAULT_GIB = 20.0
_KEEP = 0.8  # of the bound, once it is exceeded

Download = Callable[[str], Iterable[bytes]]


class BucketCache:
    """`<LWD_CACHE, ~/.cache/lwd>/<url's digest>/`; LWD_CACHE_GIB bounds it (20)."""

    def __init__(self, url: str, top: Path | None = None) -> None:
        base = top or Path(os.environ.get('LWD_CACHE') or '~/.cache/lwd').expanduser()
        self.path_of_all = base / hashlib.sha256(url.encode()).hexdigest()[:16]
        self._bound = float(os.environ.get('LWD_CACHE_GIB') or _DEFAULT_GIB) * (1 << 30)
        self._fresh = 0  # bytes fetched since the bound was last looked at

    def path(self, rel: str) -> Path:
        """Return where `rel` is, or would be."""
        return self.path_of_all / check_relative(rel)

    def fetch(self, rel: str, entry: dict[str, Any], download: Download) -> None:
        """Make sure of a copy of the object as `entry` (e_tag, size) describes it."""
        path = self.path(rel)
        version = f'{entry.get("e_tag")} {entry["size"]}'.encode()
        stamp = path.with_name(f'.{path.name}.version')
        if path.is_file() and stamp.is_file() and stamp.read_bytes() == version:
            os.utime(path)  # what is used stays
            return
        make_dirs(path.parent)
        partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
        try:
            size = 0
            with open(create(partial, os.O_TRUNC), 'wb') as file:
                for piece in download(rel):
                    size += file.write(piece)
            if size != int(entry['size']):
                raise StoreAwayError(f'{rel}: the store returned {size} bytes of '
                                     f'{entry["size"]}: try again')
            stamp.unlink(missing_ok=True)
            os.replace(partial, path)
            write_atomic(stamp, version)
        finally:
            partial.unlink(missing_ok=True)
        self._bounded(size, path.parent)

    def _bounded(self, fetched: int, keep: Path) -> None:
        """Remove what was not used for longest; what is open elsewhere stays readable there."""
        self._fresh += fetched
        if self._fresh < self._bound * (1 - _KEEP):
            return
        self._fresh = 0
        files = sorted(_files(self.path_of_all), key=lambda item: item[0])
        total = sum(size for _, size, _ in files)
        for _, size, path in files if total > self._bound else ():
            if total <= self._bound * _KEEP:
                break
            if path.parent != keep:
                path.unlink(missing_ok=True)
                total -= size


def _files(top: Path) -> Iterator[tuple[float, int, Path]]:
    for folder, _, names in os.walk(top):
        for name in names:
            path = Path(folder) / name
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process tidies up too
            yield status.st_mtime, status.st_size, path

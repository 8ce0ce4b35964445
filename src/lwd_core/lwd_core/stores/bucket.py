# SPDX-License-Identifier: Apache-2.0
"""A store in an S3-compatible bucket, through obstore.

Where it is comes from the URL, who may use it from the environment alone: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, and AWS_ENDPOINT_URL for a server that is not
Amazon's. A bucket has no folders and no rename; an object is there whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
import hashlib
import os
from pathlib import Path
import shutil
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, S3Store

from lwd_core.hashing import sha256_file
from lwd_core.stores.cache import BucketCache
from lwd_core.stores.files import Pace
from lwd_core.stores.paths import (
    check_relative,
    folder_files,
    MAX_GET_BYTES,
    Names,
    StoreAwayError,
    StoreError,
    visible,
)

PART_BYTES = 8 << 20  # of a multipart upload; S3 wants at least 5 MiB
_MAX_PARTS = 10_000
_PATIENCE = timedelta(minutes=5)  # a part of a paced upload is tried again for so long
_FEW = 32  # folders to ask for one by one; more are listed at once


def open_bucket(url: str) -> BucketStore:
    """Open `s3://bucket/prefix`; within a process a URL is one store, with one set of connections.

    Nothing is asked of the server yet: a robot starts without its network.
    """
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or '@' in parts.netloc:
        raise StoreError(f'store {parts.scheme}://... refused: credentials and options come from '
                         'the environment (AWS_ACCESS_KEY_ID, ...), never from the URL')
    prefix = parts.path.strip('/')
    if not parts.netloc:
        raise StoreError(f'store {url!r} refused: must be s3://bucket or s3://bucket/prefix')
    if prefix:
        check_relative(prefix)
    environment = tuple(sorted((key, value) for key, value in os.environ.items()
                               if key.startswith(('AWS_', 'LWD_CACHE'))))
    return _opened(parts.netloc, prefix, environment)


@lru_cache(maxsize=8)
def _opened(bucket: str, prefix: str, environment: tuple[tuple[str, str], ...]) -> BucketStore:
    allow_http = dict(environment).get('AWS_ENDPOINT_URL', '').startswith('http://')
    def store(retry: Any) -> S3Store:
        return S3Store(
            bucket, prefix=prefix or None, retry_config=retry,
            client_options={'connect_timeout': timedelta(seconds=5),
                            'timeout': timedelta(minutes=3), 'allow_http': allow_http})

    hasty = store({'max_retries': 3, 'retry_timeout': timedelta(seconds=30)})
    patient = store({'max_retries': 1000, 'retry_timeout': _PATIENCE, 'backoff': {
        'init_backoff': timedelta(milliseconds=200), 'max_backoff': timedelta(seconds=10),
        'base': 2}})
    return BucketStore(f's3://{bucket}' + (f'/{prefix}' if prefix else ''), hasty, patient=patient)


class BucketStore:
    """A store over any of obstore's object stores. Safe to use from many threads and processes."""

    def __init__(self, url: str, objects: ObjectStore, cache: Path | None = None,
                 patient: ObjectStore | None = None) -> None:
        """Name it `url`; `cache`: folder for what `local` fetches; `patient`: the same objects
        for uploads that are paced, which have time: a part that is cut off is tried for minutes.
        """
        self._url = url
        self._objects = objects
        self._patient = patient or objects
        self._cache = BucketCache(url, cache)
        self._complete: dict[tuple[str, str], set[str]] = {}

    def __repr__(self) -> str:
        return f'BucketStore({self._url!r})'

    @property
    def url(self) -> str:
        """Return how this store is named."""
        return self._url

    def put(self, rel: str, data: bytes | Path) -> None:
        """Write one object whole, replacing what was there."""
        check_relative(rel)
        if isinstance(data, Path):
            self._put_file(data, rel, None)
            return
        with self._asking(rel):
            obstore.put(self._objects, rel, data, use_multipart=False)

    def get(self, rel: str, limit: int = MAX_GET_BYTES) -> bytes:
        """Return one object's content; StoreError if it is not there or longer than `limit`."""
        check_relative(rel)
        with self._asking(rel):
            found = obstore.get(self._objects, rel)
            size = int(found.meta['size'])
            if size > limit:
                raise StoreError(f'{rel} has {size} bytes, at most {limit}: not read')
            data = bytes(found.bytes())
        self._check_size(rel, len(data), size)
        return data

    def exists(self, rel: str) -> bool:
        """Say whether an object of this name is there."""
        return self._head(rel) is not None

    def digest(self, rel: str) -> str:
        """Return the sha256 of an object as the store gives it back."""
        check_relative(rel)
        found, size = hashlib.sha256(), 0
        with self._asking(rel):
            answer = obstore.get(self._objects, rel)
            for piece in answer.stream(min_chunk_size=1 << 20):
                found.update(piece)
                size += len(piece)
        self._check_size(rel, size, int(answer.meta['size']))
        return found.hexdigest()

    def list(self, prefix: str = '') -> Names:
        """Return the sorted paths of all objects under the folder `prefix`."""
        return sorted(path for path, _ in self._objects_under(prefix))

    def children(self, prefix: str = '') -> Names:
        """Return the sorted names directly under the folder `prefix`: one request per 1000."""
        if prefix:
            check_relative(prefix)
        with self._asking(prefix):
            found = obstore.list_with_delimiter(self._objects, prefix or None)
        paths = [*found['common_prefixes'], *(entry['path'] for entry in found['objects'])]
        names = {path.rstrip('/').rsplit('/', 1)[-1] for path in paths}
        return sorted(name for name in names if visible(name))

    def marked(self, prefix: str, marker: str) -> Names:
        """Return the sorted names of the folders under `prefix` that hold the object `marker`.

        What was complete once stays complete, so later calls ask only for what is new.
        """
        check_relative(marker)
        complete = self._complete.setdefault((prefix, marker), set())
        names = self.children(prefix)
        unknown = [name for name in names if name not in complete]
        if len(unknown) > _FEW:
            ends = f'/{marker}'
            complete.update(path[len(prefix) + 1:-len(ends)]
                            for path, _ in self._objects_under(prefix) if path.endswith(ends))
        else:
            complete.update(name for name in unknown if self.exists(f'{prefix}/{name}/{marker}'))
        return [name for name in names if name in complete]

    def put_dir(self, source: Path, rel: str, marker: str, move: bool = False,
                pace: Pace | None = None) -> None:
        """Put the files of the folder `source` under `rel`, the file named `marker` last.

        Files an earlier call brought there whole are not sent again. obstore keeps the id of a
        multipart upload to itself, so that no other call can go on with it: with `pace` a file that
        is cut off waits here for the network and goes on at the part where it was.
        """
        check_relative(rel)
        names = folder_files(source, marker)
        if self.exists(f'{rel}/{marker}'):
            if self.get(f'{rel}/{marker}') != (source / marker).read_bytes():
                raise StoreError(f'{rel} is already in the store {self._url}, with another '
                                 f'{marker}: nothing was put')
        else:
            for name in names:
                self._put_file(source / name, f'{rel}/{name}', pace)
        if move:
            shutil.rmtree(source)

    def delete_dir(self, rel: str, marker: str) -> None:
        """Remove all objects under `rel`, the marker first."""
        check_relative(rel)
        with self._asking(rel):
            if self.exists(f'{rel}/{marker}'):
                obstore.delete(self._objects, f'{rel}/{marker}')
            paths = [path for path, _ in self._objects_under(rel)]
            if paths:
                obstore.delete(self._objects, paths)

    def local(self, rel: str) -> Path:
        """Return a path on this machine holding a copy of the object or folder `rel`, to read.

        What was fetched before is fetched again only if it changed in the store.
        """
        check_relative(rel)
        entries = dict(self._objects_under(rel))
        if not entries and (head := self._head(rel)) is not None:
            entries = {rel: head}
        for path, entry in entries.items():
            self._cache.fetch(path, entry, self._download)
        return self._cache.path(rel)

    def _download(self, rel: str) -> Iterator[bytes]:
        with self._asking(rel):
            for piece in obstore.get(self._objects, rel).stream(min_chunk_size=1 << 20):
                yield bytes(piece)

    def _head(self, rel: str) -> dict[str, Any] | None:
        check_relative(rel)
        try:
            with self._asking(rel):
                return dict(obstore.head(self._objects, rel))
        except StoreAwayError:
            raise
        except StoreError:
            return None

    def _objects_under(self, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if prefix:
            check_relative(prefix)
        with self._asking(prefix):
            for page in obstore.list(self._objects, prefix or None, chunk_size=1000):
                for entry in page:
                    # Names that others wrote become paths here: only what we would write ourselves.
                    if all(visible(part) for part in entry['path'].split('/')):
                        yield entry['path'], dict(entry)

    def _put_file(self, path: Path, rel: str, pace: Pace | None) -> None:
        """Send a file unless it is there already, and make sure that it arrived as it was."""
        size = path.stat().st_size
        part = max(PART_BYTES, -(-size // (_MAX_PARTS - 1)))
        tag = _Tag(part)
        there = self._head(rel)
        if there is not None and int(there['size']) == size:
            for piece in _pieces(path, part):
                tag.add(piece)
            if _etag(there) == tag.value or self.digest(rel) == sha256_file(path):
                return
            tag = _Tag(part)
        pieces = _paced(path, part, tag, pace)
        with self._asking(rel):
            if size <= part:
                answer = obstore.put(
                    self._objects, rel, next(pieces, b''), use_multipart=False)
            else:
                objects = self._objects if pace is None else self._patient
                answer = obstore.put(objects, rel, pieces, use_multipart=True,
                                     chunk_size=part, max_concurrency=2)
        if _etag(answer) != tag.value and self.digest(rel) != sha256_file(path):
            raise StoreAwayError(f'{rel}: what {self._url} holds differs from what was sent: to be '
                                 'sent again')

    def _check_size(self, rel: str, size: int, expected: int) -> None:
        if size != expected:
            raise StoreAwayError(f'{rel}: {self._url} returned {size} bytes of {expected}: try '
                                 'again')

    @contextmanager
    def _asking(self, rel: str) -> Iterator[None]:
        """Turn obstore's errors into ours; their text may be pages long."""
        try:
            yield
        except (NotFoundError, FileNotFoundError) as error:
            raise StoreError(f'{rel} is not an object of the store {self._url}') from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise StoreAwayError(
                f'the store {self._url} refuses access to {rel or "it"}: check AWS_ACCESS_KEY_ID, '
                "AWS_SECRET_ACCESS_KEY and the bucket's policy") from error
        except BaseError as error:
            text = (str(error).strip().splitlines() or ['no reason given'])[0][:300]
            raise StoreAwayError(f'the store {self._url} does not answer: {text}') from error


class _Tag:
    """The ETag an S3 server gives to what was sent: md5, or md5 of the parts' md5.

    If it comes back, the server holds exactly these bytes. Servers that encrypt give another one;
    then the object is read back.
    """

    def __init__(self, part: int) -> None:
        self._part = part
        self._digests: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Take the next part."""
        self._digests.append(hashlib.md5(piece, usedforsecurity=False).digest())
        self._size += len(piece)

    @property
    def value(self) -> str:
        """Return the tag of all parts."""
        if self._size <= self._part:
            first = self._digests or [hashlib.md5(b'', usedforsecurity=False).digest()]
            return first[0].hex()
        whole = hashlib.md5(b''.join(self._digests), usedforsecurity=False)
        return f'{whole.hexdigest()}-{len(self._digests)}'


def _etag(answer: Any) -> str:
    return str(answer.get('e_tag') or '').strip('"')


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    with open(path, 'rb') as file:
        while piece := file.read(size):
            yield piece


def _paced(path: Path, size: int, tag: _Tag, pace: Pace | None) -> Iterator[bytes]:
    for piece in _pieces(path, size):
        if pace is not None:
            pace(len(piece))
        tag.add(piece)
        yield piece

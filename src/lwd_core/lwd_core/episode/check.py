# SPDX-License-Identifier: Apache-2.0
"""What state a bag is in, whole or not, and what can be made of one that is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
import enum
from pathlib import Path

from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.meta import EpisodeMeta, META, valid_id
from lwd_core.episode.reader import EpisodeBagReader
from lwd_core.episode.recover import rebuild, recover
from lwd_core.episode.writer import METADATA, PARTIAL
from lwd_core.hashing import sha256_file

OPENED = 'opened.json'  # what a recorder leaves beside a bag that is not closed
BROKEN = 'broken'  # the folder of a spool for what cannot be used


class Result(enum.IntEnum):
    """What came of a recovery; the values are exit codes, as `mcap recover` has them."""

    WHOLE = 0
    NOTHING = 1
    LOSSY = 3


@dataclass(frozen=True)
class Recovery:
    """One bag's recovery, in words for people."""

    path: Path
    result: Result
    text: str


@dataclass(frozen=True)
class BagState:
    """One bag of a folder; `state` is 'whole', 'open' (being written, or left so) or 'broken'."""

    path: Path
    state: str
    bytes: int
    detail: str = ''


def spool_bags(spool: Path) -> Iterator[BagState]:
    """Yield every bag of a recorder's spool."""
    for folder in _folders(spool):
        yield BagState(folder, 'whole' if (folder / META).is_file() else 'open', _bytes(folder),
                       'waits for the store' if (folder / META).is_file() else
                       'being recorded, or left by a recorder that died')
    for folder in _folders(spool / BROKEN):
        yield BagState(folder, 'broken', _bytes(folder), 'moved aside: it cannot be used')


def verify(folder: Path) -> list[str]:
    """Return what is wrong with the complete episode in `folder`, [] if nothing is.

    Reads all of it: digests, every chunk's checksum, the counts of episode.json and metadata.yaml.
    """
    try:
        meta = EpisodeMeta.read(folder)
    except EpisodeError as error:
        return [str(error)]
    name = str(meta.bag.get('file', ''))
    path = folder / name
    if not name or Path(name).name != name or not path.is_file():
        return [f'bag {name!r} is not there']
    return [*_files(folder, path, meta), *_contents(path, meta)]


def _files(folder: Path, path: Path, meta: EpisodeMeta) -> Iterator[str]:
    size, said = path.stat().st_size, meta.bag.get('bytes')
    if size != said:
        yield f'{path.name} has {size} bytes, must have {said}'
    if sha256_file(path) != meta.bag.get('sha256'):
        yield f'sha256 of {path.name} differs from the one in {META}'
    expected = meta.bag.get('metadata_sha256')
    if not (folder / METADATA).is_file():
        yield f'{METADATA} is not there'
    elif expected and sha256_file(folder / METADATA) != expected:
        yield f'sha256 of {METADATA} differs from the one in {META}'


def _contents(path: Path, meta: EpisodeMeta) -> Iterator[str]:
    try:
        reader = EpisodeBagReader(path)
        counts = Counter(reader.topic_of(message) for message in reader.raw())
    except EpisodeError as error:
        yield str(error)
        return
    for topic, record in sorted(meta.topics.items()):
        if counts[topic] != record.get('count'):
            yield f'{topic} has {counts[topic]} messages, must have {record.get("count")}'


def recover_folder(folder: Path) -> Recovery:
    """Complete the episode that a recorder left in `folder`; it stays there."""
    if (folder / META).is_file():
        return Recovery(folder, Result.WHOLE, 'is complete already')
    try:
        opened = EpisodeMeta.from_json((folder / OPENED).read_bytes(), str(folder))
    except (OSError, EpisodeError):
        return _rebuilt_bags(folder)
    found = recover(folder, opened)
    if found is None:
        return Recovery(folder, Result.NOTHING, 'holds not one whole message')
    (folder / OPENED).unlink(missing_ok=True)
    text = f'{found.messages} messages, outcome {found.meta.outcome}'
    return Recovery(folder, Result.LOSSY if found.lost else Result.WHOLE,
                    text + (f'; lost: {found.lost}' if found.lost else ''))


def recover_file(source: Path, output: Path) -> Recovery:
    """Write a new bag folder `output` with every whole message of the bag file `source`."""
    if output.exists():
        raise EpisodeError('meta', f'{output} exists already: name another --output')
    name = source.name.removesuffix(PARTIAL).removesuffix('.mcap').removesuffix('_0')
    try:
        found = rebuild(source, output, name if valid_id(name) else 'recovered')
    except EpisodeError as error:
        return Recovery(source, Result.NOTHING, str(error))
    if found is None:
        return Recovery(source, Result.NOTHING, 'holds not one whole message')
    lost = '; '.join(found.losses)
    return Recovery(source, Result.LOSSY if lost else Result.WHOLE,
                    f'{found.messages} messages in {found.bag.path}'
                    + (f'; lost: {lost}' if lost else ''))


def worst(recoveries: list[Recovery]) -> Result:
    """Return one result for many: NOTHING only if nothing came of any."""
    results = {recovery.result for recovery in recoveries}
    if not results or results == {Result.WHOLE}:
        return Result.WHOLE
    return Result.NOTHING if results == {Result.NOTHING} else Result.LOSSY


def _rebuilt_bags(folder: Path) -> Recovery:
    """Rebuild the bag of a folder without a record of what it is."""
    bags = [path for pattern in (f'*.mcap{PARTIAL}', '*.mcap')
            for path in sorted(folder.glob(pattern)) if path.stat().st_size]
    if not bags:
        return Recovery(folder, Result.NOTHING, 'holds no bag')
    return recover_file(bags[0], folder.with_name(f'{folder.name}-recovered'))


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return [folder for folder in sorted(path.iterdir())
            if folder.is_dir() and folder.name != BROKEN and not folder.name.startswith('.')]


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())

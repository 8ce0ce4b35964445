# SPDX-License-Identifier: Apache-2.0
"""Make a whole bag of what a killed recorder or a full disk left behind."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
from dataclasses import dataclass
from pathlib import Path
import shutil

from lwd_core.episode.definitions import Definition, DefinitionError, typestore
from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.gaps import LossCounter
from lwd_core.episode.log import EpisodeLog
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.episode.reader import EpisodeBagReader
from lwd_core.episode.scan import RawMessage
from lwd_core.episode.writer import BagFile, EpisodeBagWriter, METADATA, PARTIAL

_SCRATCH = 'recover'
OnMessage = Callable[[str, RawMessage], None]


@dataclass(frozen=True)
class Rebuilt:
    """A new bag with everything whole of an old one; `losses` says what was not."""

    bag: BagFile
    messages: int
    losses: tuple[str, ...]


@dataclass(frozen=True)
class Recovered:
    """What was rebuilt. `lost` says what of the file was lost, '' if nothing was."""

    meta: EpisodeMeta
    messages: int
    lost: str


def recover(folder: Path, opened: EpisodeMeta) -> Recovered | None:
    """Rebuild the bag in `folder` from its `*.partial` and write episode.json; None if nothing is.

    opened: what was known when the recording began. The outcome is UNLABELLED unless the bag holds
    a later one. The partial file is removed when all else is durable; every step can be repeated.
    An OSError (a full disk) leaves everything as it was.
    """
    source = _leftover(folder, opened.id)
    if source is None:
        return None
    scratch = folder / _SCRATCH  # the same file name as the leftover, so in a folder of its own
    shutil.rmtree(scratch, ignore_errors=True)  # of a recovery that was killed
    log = EpisodeLog(opened)
    prefix = f'/{opened.robot}/'

    def read(topic: str, message: RawMessage) -> None:
        relative = topic.removeprefix(prefix)
        if relative in EpisodeLog.TOPICS:
            with contextlib.suppress(EpisodeError):  # the bag keeps it, the account does without
                log.add(relative, reader.decode(message))

    reader = EpisodeBagReader(source)
    try:
        found = _rebuild(reader, scratch, opened.id, read)
        if found is None:
            return None
        bag = found.bag
        path = bag.path.replace(folder / bag.path.name)
        (scratch / METADATA).replace(folder / METADATA)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    lost = '; '.join(found.losses)
    text = f'recovered {found.messages} messages' + (f', lost: {lost}' if lost else '')
    meta = log.finished(
        BagFile(path, bag.sha256, bag.bytes, bag.topics, bag.metadata_sha256), text,
        recovered=True)
    meta.write(folder)
    for leftover in folder.glob(f'*{PARTIAL}'):
        leftover.unlink()
    return Recovered(meta, found.messages, lost)


def rebuild(source: Path, folder: Path, name: str) -> Rebuilt | None:
    """Write `<folder>/<name>_0.mcap` with every whole message of the bag file `source`.

    None if there is not one. Any MCAP file of CDR messages will do; `source` is left alone.
    """
    return _rebuild(EpisodeBagReader(source), folder, name, lambda topic, message: None)


def _leftover(folder: Path, name: str) -> Path | None:
    """Return the file with the episode's messages, closed or not."""
    for path in (folder / f'{name}_0.mcap{PARTIAL}', folder / f'{name}_0.mcap'):
        if path.is_file() and path.stat().st_size:
            return path
    return None


def _rebuild(reader: EpisodeBagReader, folder: Path, name: str,
             read: OnMessage) -> Rebuilt | None:
    messages, losses = reader.salvage()
    if not messages:
        return None
    writer = EpisodeBagWriter(folder, name, _Definitions(reader))
    counter = LossCounter()
    try:
        offered = reader.offered_qos()
        for topic, spec in reader.specs().items():
            writer.add_topic(spec, topic, offered[topic])
        for message in messages:
            topic = reader.topic_of(message)
            read(topic, message)
            writer.write(topic, message.data, message.log_ns, message.publish_ns, message.sequence)
            writer.topics[topic].lost += counter.arrived(topic, message.sequence or None)
        bag = writer.close({'episode_id': name, 'recovered': 'true'})
    except (OSError, DefinitionError):
        writer.abort()
        writer.partial.unlink(missing_ok=True)  # a full disk needs the room
        raise
    return Rebuilt(bag, len(messages), tuple(losses))


class _Definitions:
    """The definitions a bag carries, in place of those installed."""

    def __init__(self, reader: EpisodeBagReader) -> None:
        self._texts = reader.definitions()

    def get(self, name: str) -> Definition:
        """Return the bag's own definition of a type."""
        store = typestore(frozenset(self._texts.items()))
        return Definition(name, self._texts[name], store.hash_rihs01(name))

# SPDX-License-Identifier: Apache-2.0
"""Make a whole bag of what a killed recorder or a full disk left behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lwd_core.episode.definitions import Definition, typestore
from lwd_core.episode.log import EpisodeLog
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.episode.reader import EpisodeBagReader
from lwd_core.episode.scan import RawMessage
from lwd_core.episode.writer import BagFile, EpisodeBagWriter, METADATA, PARTIAL


@dataclass(frozen=True)
class Recovered:
    """What was rebuilt. `lost` says what stopped the reading, '' if the file was whole."""

    meta: EpisodeMeta
    messages: int
    lost: str


def recover(folder: Path, opened: EpisodeMeta) -> Recovered | None:
    """Rebuild the bag in `folder` from its `*.partial` and write episode.json; None if nothing is.

    opened: what was known when the recording began. The outcome is UNLABELLED unless the bag holds
    a later one. The partial file is removed when all else is durable; every step can be repeated.
    """
    source = _leftover(folder, opened.id)
    if source is None:
        return None
    reader = EpisodeBagReader(source)
    messages, problem = reader.whole()
    if not messages:
        return None
    log = EpisodeLog(opened)
    bag = _rewrite(folder, opened, reader, messages, log)
    text = f'recovered {len(messages)} messages' + (f', then: {problem}' if problem else '')
    meta = log.finished(bag, text, recovered=True)
    meta.write(folder)
    for leftover in folder.glob(f'*{PARTIAL}'):
        leftover.unlink()
    return Recovered(meta, len(messages), problem)


def _leftover(folder: Path, name: str) -> Path | None:
    """Return the file with the episode's messages, closed or not."""
    for path in (folder / f'{name}_0.mcap{PARTIAL}', folder / f'{name}_0.mcap'):
        if path.is_file() and path.stat().st_size:
            return path
    return None


def _rewrite(folder: Path, opened: EpisodeMeta, reader: EpisodeBagReader,
             messages: list[RawMessage], log: EpisodeLog) -> BagFile:
    scratch = folder / 'recover'  # the same file name as the leftover, so in a folder of its own
    for stale in scratch.glob('*') if scratch.is_dir() else ():
        stale.unlink()
    writer = EpisodeBagWriter(scratch, opened.id, _Definitions(reader))
    prefix = f'/{opened.robot}/'
    try:
        for topic, spec in reader.specs().items():
            writer.add_topic(spec, topic)
        for message in messages:
            topic = reader.topic_of(message)
            relative = topic.removeprefix(prefix)
            if relative in EpisodeLog.TOPICS:
                log.add(relative, reader.decode(message))
            writer.write(topic, bytes(message.data), message.log_ns, message.publish_ns,
                         message.sequence)
        bag = writer.close({'episode_id': opened.id, 'recovered': 'true'})
    except OSError:
        writer.abort()
        raise
    path = bag.path.replace(folder / bag.path.name)
    (scratch / METADATA).replace(folder / METADATA)
    scratch.rmdir()
    return BagFile(path, bag.sha256, bag.bytes, bag.topics)


class _Definitions:
    """The definitions a bag carries, in place of those installed."""

    def __init__(self, reader: EpisodeBagReader) -> None:
        self._texts = reader.definitions()

    def get(self, name: str) -> Definition:
        """Return the bag's own definition of a type."""
        store = typestore(frozenset(self._texts.items()))
        return Definition(name, self._texts[name], store.hash_rihs01(name))

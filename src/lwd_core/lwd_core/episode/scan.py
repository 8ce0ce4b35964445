# SPDX-License-Identifier: Apache-2.0
"""Walk the records of an MCAP file front to back, without its index: fast, and honest about cuts.

Format: https://mcap.dev/spec. Only what rosbag2 and this project write is read.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from dataclasses import dataclass, field
from importlib import import_module
from struct import error as StructError
from struct import Struct
from typing import NamedTuple
import zlib

from lwd_core.episode.errors import EpisodeError

MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
_RECORD = Struct('<BQ')
_FOOTER = Struct('<BQQQI')
_NOT_CLOSED = 'no end of data'  # all that is there is whole
_NO_INDEX = 'cut off in its index'  # which can be made again
_MESSAGE_HEAD = Struct('<HIQQ')
_U16, _U32, _U64 = Struct('<H'), Struct('<I'), Struct('<Q')


class Schema(NamedTuple):
    """A message definition in a bag."""

    name: str
    encoding: str
    text: str


class Channel(NamedTuple):
    """A topic in a bag."""

    topic: str
    schema_id: int
    encoding: str
    metadata: dict[str, str]


class RawMessage(NamedTuple):
    """A message as it was recorded; `data` is a view into the file."""

    channel: int
    log_ns: int
    publish_ns: int
    sequence: int
    data: memoryview


@dataclass
class Scan:
    """The walk's state: schemas and channels by id as they are met; `complete` at the data's end.

    After the walk `problem` says what stopped it early, '' if nothing did. `losses` says what
    `salvage` had to leave out.
    """

    buffer: memoryview
    where: str
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    complete: bool = False
    problem: str = ''
    position: int = 0
    losses: list[str] = field(default_factory=list)
    _lenient: bool = False

    def messages(self) -> Iterator[RawMessage]:
        """Yield every whole message in file order; stop at the first cut or damaged record."""
        if bytes(self.buffer[:8]) != MAGIC:
            self.problem = 'does not start as an MCAP file'
            return
        try:
            yield from self._walk()
        except (StructError, UnicodeDecodeError, ValueError, IndexError) as error:
            self.problem = f'damaged near byte {self.position}: {error}'
            return
        if self.complete and bytes(self.buffer[-8:]) != MAGIC:
            self.complete, self.problem = False, _NO_INDEX

    def salvage(self) -> Iterator[RawMessage]:
        """Yield every whole message, also behind damage and inside a chunk that is cut off."""
        self._lenient = True
        self._definitions_at_the_end()
        yield from self.messages()
        if self.problem and self.problem not in (_NOT_CLOSED, _NO_INDEX):
            self.losses.append(self.problem)

    def require_complete(self) -> None:
        """Raise EpisodeError unless the walk reached the file's proper end."""
        if self.problem.startswith(('damaged', 'does not start')):
            raise EpisodeError('damaged', f'{self.where}: {self.problem}')
        if not self.complete:
            raise EpisodeError(
                'truncated', f'{self.where}: cut off at byte {self.position} of a longer file '
                             f'({self.problem}): it was not closed, or not copied whole')

    def _walk(self) -> Iterator[RawMessage]:
        buffer, position, size = self.buffer, 8, len(self.buffer)
        while True:
            self.position = position
            if position + 9 > size:
                left = size - position
                self.problem = f'{left} bytes at the end are no record' if left else _NOT_CLOSED
                return
            opcode, length = _RECORD.unpack_from(buffer, position)
            position += 9
            if position + length > size:
                self.problem = f'a record of {length} bytes is cut, {size - position} are there'
                if self._lenient and opcode == _CHUNK:
                    yield from self._cut_chunk(buffer[position:])
                return
            if opcode == _CHUNK:
                yield from self._whole_chunk(buffer[position:position + length])
            elif opcode == _DATA_END:
                self.complete = True
                return
            elif opcode in (_SCHEMA, _CHANNEL, _MESSAGE):
                yield from self._records(buffer[position - 9:position + length])
            elif opcode == 0 or 0x10 <= opcode < 0x80:
                raise ValueError(f'no such record as {opcode:#x}')
            position += length

    def _whole_chunk(self, record: memoryview) -> Iterator[RawMessage]:
        at = self.position
        try:
            yield from self._records(self._chunk(record))
        except (StructError, UnicodeDecodeError, ValueError, IndexError) as error:
            if not self._lenient:
                raise
            # Its length led to the next record, so what follows can be read.
            self.losses.append(f'a chunk of {len(record)} bytes at byte {at} is damaged: {error}')

    def _cut_chunk(self, record: memoryview) -> Iterator[RawMessage]:
        """Yield the whole messages of a chunk whose end is missing, if it is not compressed."""
        try:
            compression, offset = _string(record, 28)
        except (StructError, UnicodeDecodeError, ValueError):
            return
        if not compression:
            with contextlib.suppress(StructError, UnicodeDecodeError, ValueError, IndexError):
                yield from self._records(record[offset + 8:])

    def _definitions_at_the_end(self) -> None:
        """Read the schemas and channels of the summary, in case those in front are damaged."""
        if len(self.buffer) < 8 + _FOOTER.size or bytes(self.buffer[-8:]) != MAGIC:
            return
        start = _FOOTER.unpack_from(self.buffer, len(self.buffer) - 8 - _FOOTER.size)[2]
        with contextlib.suppress(StructError, UnicodeDecodeError, ValueError, IndexError):
            for _ in self._records(self.buffer[start:-8]) if 8 < start else ():
                pass

    def _chunk(self, record: memoryview) -> memoryview:
        size = _U64.unpack_from(record, 16)[0]
        crc = _U32.unpack_from(record, 24)[0]
        compression, offset = _string(record, 28)
        length = _U64.unpack_from(record, offset)[0]
        data = record[offset + 8:offset + 8 + length]
        data = memoryview(_decompress(compression, data, size)) if compression else data
        if len(data) != size:
            raise ValueError(f'a chunk has {len(data)} bytes, must have {size}')
        if crc and zlib.crc32(data) != crc:
            raise ValueError('a chunk fails its checksum')
        return data

    def _records(self, data: memoryview) -> Iterator[RawMessage]:
        position, size, head = 0, len(data), _MESSAGE_HEAD
        while position < size:
            opcode, length = _RECORD.unpack_from(data, position)
            position += 9
            end = position + length
            if end > size:
                raise ValueError('a record leads out of its chunk')
            if opcode == _MESSAGE:
                channel, sequence, log_ns, publish_ns = head.unpack_from(data, position)
                if channel not in self.channels:
                    raise ValueError(f'a message of channel {channel}, which nothing describes')
                yield RawMessage(channel, log_ns, publish_ns, sequence, data[position + 22:end])
            elif opcode == _SCHEMA:
                self._schema(data[position:end])
            elif opcode == _CHANNEL:
                self._channel(data[position:end])
            position = end

    def _schema(self, record: memoryview) -> None:
        name, offset = _string(record, 2)
        encoding, offset = _string(record, offset)
        length = _U32.unpack_from(record, offset)[0]
        text = bytes(record[offset + 4:offset + 4 + length]).decode()
        self.schemas[_U16.unpack_from(record, 0)[0]] = Schema(name, encoding, text)

    def _channel(self, record: memoryview) -> None:
        channel_id, schema_id = _U16.unpack_from(record, 0)[0], _U16.unpack_from(record, 2)[0]
        topic, offset = _string(record, 4)
        encoding, offset = _string(record, offset)
        end = offset + 4 + _U32.unpack_from(record, offset)[0]
        offset += 4
        metadata = {}
        while offset < end:
            key, offset = _string(record, offset)
            metadata[key], offset = _string(record, offset)
        self.channels[channel_id] = Channel(topic, schema_id, encoding, metadata)


def _string(data: memoryview, offset: int) -> tuple[str, int]:
    length = _U32.unpack_from(data, offset)[0]
    end = offset + 4 + length
    if end > len(data):
        raise ValueError('a text leads out of its record')
    return bytes(data[offset + 4:end]).decode(), end


def _decompress(compression: str, data: memoryview, size: int) -> bytes:
    if compression == 'lz4':
        lz4 = import_module('lz4.frame')  # only foreign bags need it
        return bytes(lz4.decompress(bytes(data)))
    if compression == 'zstd':
        zstd = import_module('zstandard')
        return bytes(zstd.ZstdDecompressor().decompress(bytes(data), max_output_size=size))
    raise ValueError(f'compression {compression!r} is not known')

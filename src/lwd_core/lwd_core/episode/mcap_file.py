# SPDX-License-Identifier: Apache-2.0
"""Write an MCAP file without copying messages: chunks go to the kernel as they were received.

The records of the format come from the `mcap` library; what is ours is the path of the messages. A
chunk is a list of pieces; large messages are never joined, so a raw image is copied once, by the
kernel. Format: https://mcap.dev/spec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import contextlib
import hashlib
from importlib import import_module
import os
from pathlib import Path
from struct import Struct
import zlib

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from lwd_core.episode.errors import EpisodeError
from lwd_core.store import FILE_MODE

MAGIC = b'\x89MCAP0\r\n'
COMPRESSIONS = ('none', 'lz4', 'zstd')
MAX_MESSAGE_BYTES = 1 << 30  # lengths beyond it are damage, not messages
_SMALL = 1 << 14  # bytes; below it joining costs less than a piece of its own
_VECTORS = 512  # pieces a system call takes; Linux allows 1024
_MESSAGE = Struct('<BQHIQQ')  # opcode, length, channel, sequence, log time, publish time
_MESSAGE_BODY = 22  # bytes of the above after the length
_CHUNK = Struct('<BQQQQI')  # opcode, length, start time, end time, uncompressed size, crc
_INDEX = Struct('<BQHI')  # opcode, length, channel, bytes of the entries
_FOOTER = Struct('<BQQQ')
_U64 = Struct('<Q')


class HashedFile:
    """A new file written front to back that knows its sha256 without being read again."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
                               FILE_MODE)
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Hand all pieces to the operating system; OSError if they do not fit."""
        for first in range(0, len(pieces), _VECTORS):
            some = pieces[first:first + _VECTORS]
            self._write(some)
            for piece in some:
                self._hash.update(piece)
                self.size += len(piece)

    def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        views = [memoryview(piece) for piece in pieces if piece]
        while views:
            written = os.writev(self._handle, views)
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if written:  # a disk that fills up takes a part, and fails the next time
                views[0] = views[0][written:]

    @property
    def closed(self) -> bool:
        """Say whether nothing can be written any more."""
        return self._handle < 0

    @property
    def sha256(self) -> str:
        """Return the digest of what was written."""
        return self._hash.hexdigest()

    def duplicate(self) -> int:
        """Return a descriptor of its own, to fsync in another thread; -1 once closed."""
        return -1 if self.closed else os.dup(self._handle)

    def sync_and_close(self) -> None:
        """Make the file durable."""
        os.fsync(self._handle)
        self.abandon()

    def abandon(self) -> None:
        """Close without more ado."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with contextlib.suppress(OSError):  # network file systems report here what was lost
                os.close(handle)


class McapFile:
    """One MCAP file with profile 'ros2', chunked and indexed. Not thread-safe."""

    def __init__(self, path: Path, chunk_bytes: int, compression: str = 'none') -> None:
        """`compression`: of chunks, one of COMPRESSIONS."""
        self._compression = '' if compression == 'none' else compression
        self._compress = _compressor(compression)
        self._chunk_bytes = chunk_bytes
        self.file = HashedFile(path)
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._counts: dict[int, int] = {}
        self._chunks: list[ChunkIndex] = []
        self._metadata: list[MetadataIndex] = []
        self._span: tuple[int, int] | None = None  # ns, of the whole file
        self._first: int  # ns, of the chunk
        self._last: int
        self._begin_chunk()
        self.file.write([MAGIC, _record(Header(profile='ros2', library='lwd'))])

    def add_schema(self, name: str, encoding: str, data: bytes) -> int:
        """Return the id of a new schema."""
        new = len(self._schemas) + 1
        self._schemas.append(Schema(id=new, name=name, encoding=encoding, data=data))
        self._append(_record(self._schemas[-1]))
        return new

    def add_channel(self, topic: str, schema: int, metadata: dict[str, str]) -> int:
        """Return the id of a new channel of CDR messages."""
        new = len(self._channels) + 1
        self._channels.append(Channel(id=new, topic=topic, message_encoding='cdr',
                                      schema_id=schema, metadata=metadata))
        self._counts[new] = 0
        self._append(_record(self._channels[-1]))
        return new

    def add_message(self, channel: int, log_ns: int, data: bytes | memoryview, publish_ns: int,
                    sequence: int) -> None:
        """Append a message; `data` must not change until the next `flush`."""
        self._entries.setdefault(channel, []).extend((log_ns, self._size))
        self._counts[channel] += 1
        if not self._messages or log_ns < self._first:
            self._first = log_ns
        self._last = max(self._last, log_ns)
        self._messages += 1
        size = len(data)
        head = _MESSAGE.pack(
            Opcode.MESSAGE, size + _MESSAGE_BODY, channel, sequence, log_ns, publish_ns)
        if size < _SMALL:
            self._small += head
            self._small += data
            self._size += len(head) + size
        else:
            self._append(head)
            self._cut_small()
            self._pieces.append(data)
            self._size += size
        if self._size >= self._chunk_bytes:
            self.flush()

    def add_metadata(self, name: str, values: dict[str, str]) -> None:
        """Append a metadata record."""
        self.flush()
        record = _record(Metadata(name=name, metadata=values))
        self._metadata.append(MetadataIndex(
            name=name, offset=self.file.size, length=len(record)))
        self.file.write([record])

    def flush(self) -> None:
        """End the chunk: everything so far is with the operating system."""
        if not self._size:
            return
        self._cut_small()
        pieces, size = self._pieces, self._size
        if not self._messages:  # definitions need no chunk, and survive damage to the first one
            self._begin_chunk()
            self.file.write(pieces)
            return
        crc = 0
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
        if self._compression:
            pieces = [self._compress(b''.join(pieces))]
        stored = sum(map(len, pieces)) if self._compression else size
        name = self._compression.encode()
        tail = len(name).to_bytes(4, 'little') + name + _U64.pack(stored)
        length = _CHUNK.size - 9 + len(tail) + stored
        start = self.file.size
        head = _CHUNK.pack(Opcode.CHUNK, length, self._first, self._last, size, crc) + tail
        index, offsets = self._message_index(start + 9 + length)
        self._chunks.append(ChunkIndex(
            chunk_length=9 + length, chunk_start_offset=start, compression=self._compression,
            compressed_size=stored, message_end_time=self._last, message_index_length=len(index),
            message_index_offsets=offsets, message_start_time=self._first,
            uncompressed_size=size))
        first, last = self._span or (self._first, self._last)
        self._span = min(first, self._first), max(last, self._last)
        self._begin_chunk()
        self.file.write([head, *pieces, index])

    def finish(self) -> None:
        """Write the index; the file is complete, and still open."""
        self.flush()
        self.file.write([_record(DataEnd(data_section_crc=0))])
        start = self.file.size
        summary = RecordBuilder()
        offsets = []
        groups: tuple[tuple[Opcode, Sequence[McapRecord]], ...] = (
            (Opcode.SCHEMA, self._schemas), (Opcode.CHANNEL, self._channels),
            (Opcode.STATISTICS, [self._statistics()]), (Opcode.CHUNK_INDEX, self._chunks),
            (Opcode.METADATA_INDEX, self._metadata))
        for opcode, records in groups:
            begin = summary.count
            for record in records:
                record.write(summary)
            if summary.count > begin:
                offsets.append(SummaryOffset(opcode, start + begin, summary.count - begin))
        offset_start = start + summary.count
        for offset in offsets:
            offset.write(summary)
        data = summary.end()
        crc = zlib.crc32(_FOOTER.pack(Opcode.FOOTER, 20, start, offset_start), zlib.crc32(data))
        footer = Footer(summary_start=start, summary_offset_start=offset_start, summary_crc=crc)
        self.file.write([data, _record(footer), MAGIC])

    def _begin_chunk(self) -> None:
        self._pieces: list[bytes | memoryview] = []
        self._small = bytearray()  # messages not worth a piece each
        self._size = 0
        self._messages = 0
        self._first = self._last = 0
        self._entries: dict[int, list[int]] = {}  # channel -> log time, offset, log time, ...

    def _append(self, data: bytes) -> None:
        self._small += data
        self._size += len(data)

    def _cut_small(self) -> None:
        if self._small:
            self._pieces.append(bytes(self._small))
            self._small = bytearray()

    def _message_index(self, at: int) -> tuple[bytes, dict[int, int]]:
        """Return the chunk's message index records, written from offset `at`, and their offsets."""
        found, offsets = bytearray(), {}
        for channel, entries in self._entries.items():
            offsets[channel] = at + len(found)
            data = Struct(f'<{len(entries)}Q').pack(*entries)
            found += _INDEX.pack(Opcode.MESSAGE_INDEX, len(data) + 6, channel, len(data))
            found += data
        return bytes(found), offsets

    def _statistics(self) -> Statistics:
        first, last = self._span or (0, 0)
        return Statistics(
            attachment_count=0, channel_count=len(self._channels),
            channel_message_counts={key: count for key, count in self._counts.items() if count},
            chunk_count=len(self._chunks), message_count=sum(self._counts.values()),
            message_end_time=last, message_start_time=first,
            metadata_count=len(self._metadata), schema_count=len(self._schemas))


def _record(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return bytes(builder.end())


def _compressor(name: str) -> Callable[[bytes], bytes]:
    if name not in COMPRESSIONS:
        raise EpisodeError('meta', f'compression {name!r} refused, must be one of '
                                   f'{", ".join(COMPRESSIONS)}')
    if name == 'lz4':
        lz4: Callable[[bytes], bytes] = import_module('lz4.frame').compress
        return lz4
    if name == 'zstd':
        zstd: Callable[[bytes], bytes] = import_module('zstandard').ZstdCompressor(level=1).compress
        return zstd
    return bytes

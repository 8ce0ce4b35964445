# SPDX-License-Identifier: Apache-2.0
"""Read an episode's bag with the definitions it carries; needs no ROS."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
import mmap
from pathlib import Path
from struct import Struct
from typing import Any

import yaml

from lwd_core.episode.definitions import rihs_of, typestore
from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.migrate import migration
from lwd_core.episode.scan import Channel, RawMessage, Scan, Schema
from lwd_core.topics import TopicSpec

_STAMP = {True: Struct('<iI'), False: Struct('>iI')}  # by CDR endianness
_Loader: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
_MAX_BYTES = 1 << 36  # 64 GiB: beyond it is no episode


class EpisodeBagReader:
    """One .mcap file, mapped into memory. Topics are full names; messages keep file order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._buffer = _map(path)
        self._scan = Scan(self._buffer, str(path))
        self._messages: list[RawMessage] | None = None
        self._decoders: dict[str, Callable[[memoryview], Any]] = {}

    def raw(self) -> list[RawMessage]:
        """Return all messages undecoded, in file order; EpisodeError if the file is not whole."""
        if self._messages is None:
            self._messages = list(self._scan.messages())
            self._scan.require_complete()
        return self._messages

    def whole(self) -> tuple[list[RawMessage], str]:
        """Return the messages that are whole, also of a cut file, and what stopped the reading."""
        messages = list(self._scan.messages())
        return messages, '' if self._scan.complete else self._scan.problem

    def salvage(self) -> tuple[list[RawMessage], list[str]]:
        """Return the messages that are whole, also behind damage, and what had to be left out.

        A file that was only never closed has lost nothing.
        """
        messages = list(self._scan.salvage())
        return messages, self._scan.losses

    def offered_qos(self) -> dict[str, list[dict[str, Any]]]:
        """Return the publishers' QoS of every topic met so far, as rosbag2 writes it."""
        return {channel.topic: _profiles(channel.metadata.get('offered_qos_profiles', ''))
                for channel in self._scan.channels.values()}

    @property
    def topics(self) -> dict[str, str]:
        """Return the type of every topic."""
        self.raw()
        return {channel.topic: self._scan.schemas[channel.schema_id].name
                for channel in self._scan.channels.values()}

    def specs(self) -> dict[str, TopicSpec]:
        """Return type and QoS of every topic met so far."""
        return {channel.topic: _spec(channel, self._scan.schemas[channel.schema_id].name)
                for channel in self._scan.channels.values()}

    def definitions(self) -> dict[str, str]:
        """Return the definition text of every message type met so far."""
        return {schema.name: schema.text for schema in self._scan.schemas.values()}

    def topic_of(self, message: RawMessage) -> str:
        """Return the topic of a message."""
        return self._scan.channels[message.channel].topic

    def type_of(self, message: RawMessage) -> str:
        """Return the type of a message."""
        return self._scan.schemas[self._scan.channels[message.channel].schema_id].name

    def decode(self, message: RawMessage) -> Any:
        """Return the message's fields as an object with numpy arrays, as of today's definition."""
        schema = self._scan.schemas[self._scan.channels[message.channel].schema_id]
        decoder = self._decoders.get(schema.name)
        if decoder is None:
            decoder = self._decoders[schema.name] = self._decoder(schema)
        try:
            return decoder(message.data)
        except Exception as error:  # rosbags raises its own kinds, struct.error, UnicodeDecodeError
            raise EpisodeError('damaged', f'{self.path}: a message of {self.topic_of(message)} '
                                          f'cannot be decoded as {schema.name}: {error}') from error

    def is_defined_as(self, type_name: str, rihs: str) -> bool:
        """Say whether this bag defines a type exactly so, by its RIHS01 hash."""
        text = self.definitions().get(type_name)
        if text is None:
            return False
        try:
            return rihs_of(type_name, text) == rihs
        except Exception:  # a parser for foreign text raises whatever it likes
            return False

    def messages(
        self, topics: Collection[str] | None = None,
    ) -> Iterator[tuple[str, int, Any]]:
        """Yield (topic, receive stamp [ns], decoded message) of `topics`, None: all."""
        for message in self.raw():
            topic = self.topic_of(message)
            if topics is None or topic in topics:
                yield topic, message.log_ns, self.decode(message)

    def _decoder(self, schema: Schema) -> Callable[[memoryview], Any]:
        """Return what decodes a type by the definition in this bag and brings it up to date."""
        name = schema.name
        try:
            if schema.encoding != 'ros2msg':
                raise ValueError(f'its definition is {schema.encoding!r}, not ros2msg')
            store = typestore(frozenset(((name, schema.text),)))
            fields = tuple(field for field, _ in store.fielddefs[name][1])
        except Exception as error:  # a parser for foreign text raises whatever it likes
            raise EpisodeError('other_type', f'{self.path}: {name} cannot be read: {error}'
                               ) from error
        update = migration(name, fields, str(self.path))
        if update is None:
            return lambda data: store.deserialize_cdr(data, name)
        return lambda data: update(store.deserialize_cdr(data, name))


def header_stamp(data: memoryview) -> int:
    """Return the header stamp [ns] of a serialised message whose first field is a header."""
    sec, nanosec = _STAMP[data[1] in (1, 3)].unpack_from(data, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)


def stamp_ns(stamp: Any) -> int:
    """Return a decoded builtin_interfaces/Time in ns."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


@lru_cache(maxsize=64)
def _profiles(text: str) -> list[dict[str, Any]]:
    """Return the QoS profiles that rosbag2 wrote; nearly all topics have the same few texts."""
    return yaml.load(text, _Loader) or []  # the safe loader, in C


def _spec(channel: Channel, type_name: str) -> TopicSpec:
    profiles = _profiles(channel.metadata.get('offered_qos_profiles', ''))
    qos = profiles[0] if profiles else {}
    return TopicSpec(
        channel.topic, type_name, int(qos.get('depth', 10)),
        reliable=qos.get('reliability') != 'best_effort',
        latched=qos.get('durability') == 'transient_local')


def _map(path: Path) -> memoryview:
    try:
        size = path.stat().st_size
        if size == 0:
            raise EpisodeError('truncated', f'{path}: has 0 bytes')
        if size > _MAX_BYTES:
            raise EpisodeError('damaged', f'{path}: has {size} bytes, at most {_MAX_BYTES}')
        with open(path, 'rb') as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise EpisodeError('missing', f'{path}: cannot be read: {error.strerror}') from error

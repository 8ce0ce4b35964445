# SPDX-License-Identifier: Apache-2.0
"""Write one episode's bag: MCAP as rosbag2 writes it, whole or as `*.partial`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
import hashlib
import os
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, Writer
import yaml

from lwd_core.episode.definitions import Definition, Definitions, DefinitionSource
from lwd_core.store import fsync_dir, write_atomic
from lwd_core.topics import TopicSpec

PARTIAL = '.partial'
METADATA = 'metadata.yaml'
METADATA_VERSION = 9  # rosbag2 in Jazzy
CHUNK_BYTES = 1 << 20
_FOREVER = {'sec': 9223372036, 'nsec': 854775807}
_ROS_DISTRO = 'jazzy'


@dataclass
class TopicTally:
    """What was written of one topic."""

    topic: str
    type: str
    channel: int
    definition: Definition
    qos: dict[str, Any]
    messages: int = 0
    bytes: int = 0
    lost: int = 0


@dataclass(frozen=True)
class BagFile:
    """A closed bag."""

    path: Path
    sha256: str
    bytes: int
    topics: dict[str, TopicTally] = field(default_factory=dict)


class EpisodeBagWriter:
    """Write `<folder>/<name>_0.mcap` and metadata.yaml.

    Until `close`, the file is `<name>_0.mcap.partial`. `flush` ends the chunk in progress: what was
    written before it survives a killed process. Not thread-safe. An OSError (a full disk) leaves
    the partial file as it is; call `abort`, and recovery makes a bag of what is whole.
    """

    def __init__(self, folder: Path, name: str,
                 definitions: DefinitionSource | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f'{name}_0.mcap'
        self.partial = self.path.with_name(self.path.name + PARTIAL)
        self.topics: dict[str, TopicTally] = {}
        self._definitions = definitions or Definitions()
        self._schemas: dict[str, int] = {}
        self._first_ns: int | None = None
        self._last_ns = 0
        self._file = _HashedFile(self.partial)
        self._mcap = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.NONE)
        self._mcap.start(profile='ros2', library='lwd')
        fsync_dir(folder)

    @property
    def payload_bytes(self) -> int:
        """Return the bytes of all messages."""
        return sum(tally.bytes for tally in self.topics.values())

    @property
    def messages(self) -> int:
        """Return the number of messages."""
        return sum(tally.messages for tally in self.topics.values())

    def add_topic(self, spec: TopicSpec, topic: str) -> None:
        """Announce a topic by its full name, e.g. '/left_robot/joint_states'."""
        definition = self._definitions.get(spec.type)
        if spec.type not in self._schemas:
            self._schemas[spec.type] = self._mcap.register_schema(
                spec.type, 'ros2msg', definition.text.encode())
        qos = qos_record(spec)
        channel = self._mcap.register_channel(
            topic, 'cdr', self._schemas[spec.type],
            {'offered_qos_profiles': _yaml([qos]).strip(),
             'topic_type_hash': definition.rihs})
        self.topics[topic] = TopicTally(topic, spec.type, channel, definition, qos)

    def write(self, topic: str, data: bytes, log_ns: int, publish_ns: int | None = None,
              sequence: int = 0) -> None:
        """Append one serialised message (CDR) received at `log_ns`."""
        tally = self.topics[topic]
        tally.messages += 1
        tally.bytes += len(data)
        self._first_ns = log_ns if self._first_ns is None else min(self._first_ns, log_ns)
        self._last_ns = max(self._last_ns, log_ns)
        self._mcap.add_message(
            tally.channel, log_ns, data, log_ns if publish_ns is None else publish_ns,
            sequence & 0xFFFFFFFF)

    def flush(self) -> None:
        """Hand every message so far to the operating system."""
        if not self._file.closed:
            self._mcap.flush()

    def close(self, custom: dict[str, str] | None = None) -> BagFile:
        """Finish the file, make it durable, give it its name and write metadata.yaml."""
        info = self._info(custom or {})
        self._mcap.add_metadata('rosbag2', {'serialized_metadata': _yaml(info)})
        self._mcap.finish()
        self._file.sync_and_close()
        os.replace(self.partial, self.path)
        fsync_dir(self.path.parent)
        text = _yaml({'rosbag2_bagfile_information': info})
        write_atomic(self.path.with_name(METADATA), text.encode())
        return BagFile(self.path, self._file.sha256, self._file.size, self.topics)

    def abort(self) -> None:
        """Let go of the file without finishing it; it stays `*.partial`."""
        self._file.abandon()

    def _info(self, custom: dict[str, str]) -> dict[str, Any]:
        start = self._first_ns or 0
        span = {
            'duration': {'nanoseconds': max(0, self._last_ns - start)},
            'starting_time': {'nanoseconds_since_epoch': start},
            'message_count': self.messages,
        }
        topics = [{
            'topic_metadata': {
                'name': tally.topic, 'type': tally.type, 'serialization_format': 'cdr',
                'offered_qos_profiles': [tally.qos],
                'type_description_hash': tally.definition.rihs,
            },
            'message_count': tally.messages,
        } for tally in self.topics.values()]
        return {
            'version': METADATA_VERSION, 'storage_identifier': 'mcap', **span,
            'topics_with_message_count': topics, 'compression_format': '', 'compression_mode': '',
            'relative_file_paths': [self.path.name], 'files': [{'path': self.path.name, **span}],
            'custom_data': custom or None, 'ros_distro': _ROS_DISTRO,
        }


def qos_record(spec: TopicSpec) -> dict[str, Any]:
    """Return a topic's QoS as rosbag2 writes it."""
    return {
        'history': 'keep_last', 'depth': spec.depth, 'reliability': spec.reliability,
        'durability': spec.durability, 'deadline': dict(_FOREVER), 'lifespan': dict(_FOREVER),
        'liveliness': 'automatic', 'liveliness_lease_duration': dict(_FOREVER),
        'avoid_ros_namespace_conventions': False,
    }


class _Dumper(yaml.SafeDumper):
    """Writes equal values out twice: not every reader of metadata.yaml knows aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(value: Any) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False))


class _HashedFile:
    """A file written front to back that knows its sha256 without being read again."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, 'xb')
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        written = self._file.write(data)
        self._hash.update(data)
        self.size += written
        return written

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    @property
    def closed(self) -> bool:
        return self._file.closed

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def sync_and_close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        with contextlib.suppress(OSError):  # what is buffered may not fit; it closes all the same
            self._file.close()

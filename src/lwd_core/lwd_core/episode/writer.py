# SPDX-License-Identifier: Apache-2.0
"""Write one episode's bag: MCAP as rosbag2 writes it, whole or as `*.partial`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
import json
import os
from pathlib import Path
from typing import Any

import yaml

from lwd_core import topics as topic_names
from lwd_core.episode.definitions import (
    Definition,
    Definitions,
    DefinitionSource,
    starts_with_header,
)
from lwd_core.episode.gaps import Rhythm
from lwd_core.episode.mcap_file import McapFile
from lwd_core.episode.reader import header_stamp
from lwd_core.hashing import sha256_bytes
from lwd_core.store import fsync_dir, make_dirs, write_atomic
from lwd_core.topics import TopicSpec

PARTIAL = '.partial'
METADATA = 'metadata.yaml'
METADATA_VERSION = 9  # rosbag2 in Jazzy
CHUNK_BYTES = 4 << 20
_FOREVER = {'sec': 9223372036, 'nsec': 854775807}
_ROS_DISTRO = 'jazzy'


@dataclass
class TopicTally:
    """What was written of one topic."""

    topic: str
    type: str
    channel: int
    definition: Definition
    qos: list[dict[str, Any]]
    messages: int = 0
    bytes: int = 0
    lost: int = 0
    rhythm: Rhythm | None = None  # of topics that come at a steady rate
    headed: bool = False  # whether its messages start with a header

    def record(self) -> dict[str, Any]:
        """Return what episode.json says of the topic."""
        return {'type': self.type, 'count': self.messages, 'bytes': self.bytes, 'lost': self.lost,
                **(self.rhythm.record() if self.rhythm else {})}


@dataclass(frozen=True)
class BagFile:
    """A closed bag."""

    path: Path
    sha256: str
    bytes: int
    topics: dict[str, TopicTally] = field(default_factory=dict)
    metadata_sha256: str = ''

    def record(self) -> dict[str, Any]:
        """Return what episode.json says of the files."""
        return {'file': self.path.name, 'sha256': self.sha256, 'bytes': self.bytes,
                'metadata_sha256': self.metadata_sha256}


class EpisodeBagWriter:
    """Write `<folder>/<name>_0.mcap` and metadata.yaml.

    Until `close`, the file is `<name>_0.mcap.partial`. `flush` ends the chunk in progress: what was
    written before it survives a killed process; `sync_handle` is for making it survive a power cut
    without waiting for the disk (the folder's entry is the caller's to sync). Not thread-safe. An
    OSError (a full disk) leaves the partial file as it is; call `abort`, and recovery makes a bag
    of what is whole.
    """

    def __init__(self, folder: Path, name: str, definitions: DefinitionSource | None = None,
                 compression: str = 'none') -> None:
        make_dirs(folder)
        self.path = folder / f'{name}_0.mcap'
        self.partial = self.path.with_name(self.path.name + PARTIAL)
        self.topics: dict[str, TopicTally] = {}
        self._definitions = definitions or Definitions()
        self._schemas: dict[str, int] = {}
        self._first_ns: int | None = None
        self._last_ns = 0
        self.messages = 0
        self.payload_bytes = 0
        self._mcap = McapFile(self.partial, CHUNK_BYTES, compression)
        self._file = self._mcap.file

    def add_topic(self, spec: TopicSpec, topic: str,
                  offered: Sequence[dict[str, Any]] = ()) -> None:
        """Announce a topic by its full name, e.g. '/left_robot/joint_states'.

        offered: the publishers' QoS as `qos_record` gives it; by default what LWD asks for.
        """
        definition = self._definitions.get(spec.type)
        if spec.type not in self._schemas:
            self._schemas[spec.type] = self._mcap.add_schema(
                spec.type, 'ros2msg', definition.text.encode())
        qos = list(offered) or [qos_record(spec)]
        channel = self._mcap.add_channel(topic, self._schemas[spec.type], {
            'offered_qos_profiles': _qos_yaml(json.dumps(qos)),
            'topic_type_hash': definition.rihs})
        self.topics[topic] = TopicTally(
            topic, spec.type, channel, definition, qos, rhythm=Rhythm() if _steady(spec) else None,
            headed=starts_with_header(definition.text))

    def write(self, topic: str, data: bytes | memoryview, log_ns: int,
              publish_ns: int | None = None, sequence: int = 0) -> int:
        """Append one serialised message (CDR) received at `log_ns`; `data` is not copied.

        Return how many messages of the topic seem missing before it, judged by its stamps.
        """
        tally = self.topics[topic]
        tally.messages += 1
        self.messages += 1
        tally.bytes += len(data)
        self.payload_bytes += len(data)
        self._first_ns = log_ns if self._first_ns is None else min(self._first_ns, log_ns)
        self._last_ns = max(self._last_ns, log_ns)
        self._mcap.add_message(
            tally.channel, log_ns, data, log_ns if publish_ns is None else publish_ns,
            sequence & 0xFFFFFFFF)
        if tally.rhythm is None:
            return 0
        headed = tally.headed and len(data) >= 12
        return tally.rhythm.add(header_stamp(memoryview(data)) if headed else log_ns)

    def flush(self) -> None:
        """Hand every message so far to the operating system."""
        if not self._file.closed:
            self._mcap.flush()

    def sync_handle(self) -> int:
        """Return a descriptor of the file to fsync and close, in whatever thread; -1 if closed."""
        return self._file.duplicate()

    def close(self, custom: dict[str, str] | None = None) -> BagFile:
        """Finish the file, make it durable, give it its name and write metadata.yaml."""
        info = self._info(custom or {})
        self._mcap.add_metadata('rosbag2', {'serialized_metadata': _yaml(info)})
        self._mcap.finish()
        size, sha256 = self._file.size, self._file.sha256
        self._file.sync_and_close()
        os.replace(self.partial, self.path)
        fsync_dir(self.path.parent)
        text = _yaml({'rosbag2_bagfile_information': info}).encode()
        write_atomic(self.path.with_name(METADATA), text)
        return BagFile(self.path, sha256, size, self.topics, sha256_bytes(text))

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
                'offered_qos_profiles': tally.qos,
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


def _steady(spec: TopicSpec) -> bool:
    """Say whether a topic comes at a steady rate, so that a hole in its stamps means something."""
    return not spec.latched and (
        not spec.reliable or spec.type == 'sensor_msgs/msg/Image'
        or spec.name.endswith(topic_names.EXECUTED_ACTION.name))


def qos_record(spec: TopicSpec) -> dict[str, Any]:
    """Return a topic's QoS as rosbag2 writes it."""
    return {
        'history': 'keep_last', 'depth': spec.depth, 'reliability': spec.reliability,
        'durability': spec.durability, 'deadline': dict(_FOREVER), 'lifespan': dict(_FOREVER),
        'liveliness': 'automatic', 'liveliness_lease_duration': dict(_FOREVER),
        'avoid_ros_namespace_conventions': False,
    }


# libyaml where it was built in: an episode's start and end should cost a robot little.
_SafeDumper: Any = getattr(yaml, 'CSafeDumper', yaml.SafeDumper)


class _Dumper(_SafeDumper):  # type: ignore[misc]
    """Writes equal values out twice: not every reader of metadata.yaml knows aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@lru_cache(maxsize=64)  # a robot's twenty topics have five profiles, and its episode is to begin
def _qos_yaml(qos: str) -> str:
    return _yaml(json.loads(qos)).strip()


def _yaml(value: Any) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False))

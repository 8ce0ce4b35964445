# SPDX-License-Identifier: Apache-2.0
"""Read a bag for replay: which file, which messages, with which QoS they were offered."""

from collections.abc import Iterator
from dataclasses import dataclass
import fnmatch
from pathlib import Path

from mcap.reader import make_reader
import yaml


class ReplayError(ValueError):
    """A bag that cannot be replayed; the message names it."""


@dataclass(frozen=True)
class Recorded:
    """One message as it was recorded, still serialized (CDR)."""

    topic: str
    type: str  # 'package/msg/Name'
    stamp_ns: int  # receive time
    data: bytes
    reliable: bool
    latched: bool


def bag_path(path: Path) -> Path:
    """Return the .mcap file that path is, or that its folder holds."""
    if path.is_dir():
        files = sorted(path.glob('*.mcap'))
        if len(files) != 1:
            raise ReplayError(f'{path} holds {len(files)} .mcap files; name one of them')
        return files[0]
    if not path.is_file():
        raise ReplayError(f'{path} does not exist; `lwd episodes list` shows what does')
    return path


def open_bag(path: Path, patterns: tuple[str, ...] = ('*',)) -> Iterator[Recorded]:
    """Yield the messages whose topic matches a pattern, by receive time."""
    offered: dict[int, tuple[bool, bool]] = {}
    with path.open('rb') as stream:
        for schema, channel, message in make_reader(stream).iter_messages():
            if not matches(channel.topic, patterns):
                continue
            if channel.id not in offered:
                offered[channel.id] = _qos(channel.metadata.get('offered_qos_profiles', ''))
            yield Recorded(channel.topic, schema.name if schema else '', message.log_time,
                           message.data, *offered[channel.id])


def matches(topic: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a topic is wanted; patterns are absolute or match the end of the name."""
    return any(fnmatch.fnmatch(topic, pattern) or topic.endswith('/' + pattern.lstrip('/'))
               for pattern in patterns)


def _qos(text: str) -> tuple[bool, bool]:
    """Return (reliable, latched) from the QoS that rosbag2 notes with a channel."""
    profiles = yaml.safe_load(text) if text else None
    if not isinstance(profiles, list) or not profiles:
        return True, False
    # rosbag2 wrote numbers before Jazzy: reliability 1, durability 1 (transient local).
    profile = profiles[0]
    return (profile.get('reliability', 'reliable') in ('reliable', 1),
            profile.get('durability', 'volatile') in ('transient_local', 1))

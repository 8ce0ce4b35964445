# SPDX-License-Identifier: Apache-2.0
"""Read a bag for replay: which file, which messages, when, with which QoS they were offered."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
import fnmatch
from pathlib import Path

from mcap.exceptions import McapError
from mcap.reader import make_reader
import yaml

from lwd_core.episode import EpisodeError, EpisodeMeta
from lwd_core.episode.definitions import starts_with_header
from lwd_core.episode.reader import header_stamp

# What moves a robot; left out unless asked for, since a live driver or arbiter may be listening.
COMMANDS = ('command', 'policy/command', 'teleop/command')
_FAR_NS = 60 * 10**9  # a stamp further from its neighbours is of another clock


class ReplayError(ValueError):
    """A bag that cannot be replayed; the message names it."""


@dataclass(frozen=True)
class Recorded:
    """One message as it was recorded, still serialized (CDR)."""

    topic: str
    type: str  # 'package/msg/Name'
    stamp_ns: int  # when it is due: receive time, or by its header (`by_header`)
    data: bytes
    reliable: bool
    latched: bool
    headed: bool = False  # its first field is a std_msgs/Header


@dataclass(frozen=True)
class Topic:
    """A topic to publish."""

    name: str
    type: str
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


def recorded_clock(path: Path) -> tuple[str, str]:
    """Return (robot, 'sim' or 'wall') of the episode that a bag belongs to; ('', 'wall') if none.

    A simulated robot's messages were received as fast as the machine went; its time is in stamps.
    """
    try:
        meta = EpisodeMeta.read(path.parent)
    except EpisodeError:
        return '', 'wall'
    return meta.robot, meta.clock


def open_bag(path: Path, patterns: tuple[str, ...] = ('*',)) -> Iterator[Recorded]:
    """Yield the messages whose topic matches a pattern, by receive time."""
    offered: dict[int, tuple[bool, bool]] = {}
    try:
        with path.open('rb') as stream:
            for schema, channel, message in make_reader(stream).iter_messages():
                if not matches(channel.topic, patterns):
                    continue
                if channel.id not in offered:
                    offered[channel.id] = _qos(channel.metadata.get('offered_qos_profiles', ''))
                headed = schema is not None and starts_with_header(
                    schema.data.decode(errors='replace'))
                yield Recorded(channel.topic, schema.name if schema else '', message.log_time,
                               message.data, *offered[channel.id], headed)
    except (McapError, OSError) as error:
        raise ReplayError(f'{path} is not a whole MCAP file ({type(error).__name__}: {error}); '
                          '`lwd bags recover` makes one of what is left') from error


def bag_topics(path: Path, patterns: tuple[str, ...] = ('*',)) -> list[Topic]:
    """Return the topics that will be published, by name."""
    try:
        with path.open('rb') as stream:
            summary = make_reader(stream).get_summary()
    except (McapError, OSError) as error:
        raise ReplayError(f'{path} is not a whole MCAP file ({type(error).__name__}: {error}); '
                          '`lwd bags recover` makes one of what is left') from error
    if summary is None:
        raise ReplayError(f'{path} has no index; `lwd bags recover` writes one')
    counts = summary.statistics.channel_message_counts if summary.statistics else {}
    found = {}
    for channel in summary.channels.values():
        schema = summary.schemas.get(channel.schema_id)
        if schema is not None and counts.get(channel.id) and matches(channel.topic, patterns):
            found[channel.topic] = Topic(channel.topic, schema.name, *_qos(
                channel.metadata.get('offered_qos_profiles', '')))
    return [found[name] for name in sorted(found)]


def by_header(messages: Iterable[Recorded]) -> Iterator[Recorded]:
    """Yield messages due at their header stamps; those without follow the one before.

    The order of arrival is kept, so time never runs backwards.
    """
    now: int | None = None
    for message in messages:
        stamp = header_stamp(memoryview(message.data)) if message.headed else 0
        if stamp and (now is None or now <= stamp < now + _FAR_NS):
            now = stamp
        if now is not None:
            yield replace(message, stamp_ns=now)
        elif message.latched:
            yield replace(message, stamp_ns=0)


def selected(topic: str, robot: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a topic is published: as `matches`, but commands only where named."""
    relative = topic.removeprefix(f'/{robot}/') if robot else topic.split('/', 2)[-1]
    if relative in COMMANDS:
        return any(pattern.lstrip('/') in (topic.lstrip('/'), relative) for pattern in patterns)
    return matches(topic, patterns)


def matches(topic: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a topic is wanted; patterns are absolute or match the end of the name."""
    return any(fnmatch.fnmatch(topic, pattern) or topic.endswith('/' + pattern.lstrip('/'))
               for pattern in patterns)


def moved(topic: str, robot: str, namespace: str) -> str:
    """Return a topic of `robot` as one of another namespace; others stay as they are."""
    if namespace and robot and topic.startswith(f'/{robot}/'):
        return f'/{namespace}/{topic.removeprefix(f"/{robot}/")}'
    return topic


def _qos(text: str) -> tuple[bool, bool]:
    """Return (reliable, latched) from the QoS that rosbag2 notes with a channel."""
    profiles = yaml.safe_load(text) if text else None
    if not isinstance(profiles, list) or not profiles:
        return True, False
    # rosbag2 wrote numbers before Jazzy: reliability 1, durability 1 (transient local).
    profile = profiles[0]
    return (profile.get('reliability', 'reliable') in ('reliable', 1),
            profile.get('durability', 'volatile') in ('transient_local', 1))

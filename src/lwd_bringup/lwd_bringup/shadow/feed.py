# SPDX-License-Identifier: Apache-2.0
"""In which order a recording is shown to a policy, so that it sees at each tick what it saw then.

Before the clock of tick t come the samples stamped up to t. Where the recording holds a chunk of
that tick, its observation stamps say which samples had arrived by then: later ones are held back
until the tick is over, however early they are stamped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lwd_core import topics
from lwd_core.episode import EpisodeBagReader, EpisodeMeta
from lwd_core.episode.bag import EpisodeBag
from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.reader import header_stamp, stamp_ns
from lwd_core.observation import camera_source, JOINTS, STATE
from lwd_core.robot import RobotSpec
from lwd_policy_node.backends import BACKENDS

POLICY, HUMAN = 1, 2  # lwd_msgs/ControlMode.mode and ExecutedAction.source
_IN_EPISODE = (2, 3)  # lwd_msgs/EpisodeState.phase: READY, RUNNING


@dataclass(frozen=True)
class Sent:
    """A serialised message to be published; `topic` is relative to the robot."""

    topic: str
    data: bytes


@dataclass(frozen=True)
class Step:
    """One control tick: what comes before its clock, and who drives during it."""

    tick_ns: int
    before: tuple[Sent, ...]
    mode: int


@dataclass
class Recording:
    """What a recording holds that a policy is shown, or compared with."""

    meta: EpisodeMeta
    robot: RobotSpec
    opening: tuple[Sent, ...]  # the episode is READY, then RUNNING
    steps: list[Step]
    closing: tuple[Sent, ...]
    executed: list[Any] = field(repr=False)  # lwd_msgs/ExecutedAction of RUNNING, one a tick
    chunks: dict[int, Any] = field(repr=False)  # tick -> lwd_msgs/ActionChunk, shadow ones too
    topics: dict[str, topics.TopicSpec] = field(default_factory=dict)  # to be published
    backend: str = 'eager'  # what computed the chunks: others sum in another order


def read_recording(folder: Path, robot: RobotSpec | None = None) -> Recording:
    """Read an episode for showing it; EpisodeError if there is nothing to show."""
    meta = EpisodeMeta.read(folder)
    robot = robot or RobotSpec.from_dict(meta.robot_spec, str(folder))
    bag = EpisodeBag(EpisodeBagReader(folder / str(meta.bag.get('file', ''))), meta, robot)
    executed = bag.executed()
    if not executed:
        raise EpisodeError('no_frames', f'{folder}: nothing was executed while it ran')
    chunks = {stamp_ns(chunk.header.stamp): chunk
              for chunk in bag.decoded(topics.POLICY_CHUNK.name)}
    opening, closing = _episode(bag)
    ticks = [stamp_ns(action.header.stamp) for action in executed]
    steps = list(_steps(ticks, _sources(bag), _modes(bag), chunks))
    specs = {spec.name: spec for spec in topics.robot_topics(
        robot.camera_names, robot.command_interface)}
    specs |= {spec.name: spec for spec in map(topics.camera_raw, robot.camera_names)}
    used = {sent.topic for step in steps for sent in step.before}
    used |= {sent.topic for sent in (*opening, *closing)}
    return Recording(meta, robot, opening, steps, closing, executed, chunks,
                     {name: specs[name] for name in sorted(used)}, _backend(bag))


def _backend(bag: EpisodeBag) -> str:
    """Return the inference backend that policy/status names; eager where it names none of today."""
    named = [status.backend for status in bag.decoded(topics.POLICY_STATUS.name) if status.backend]
    return named[-1] if named and named[-1] in BACKENDS else 'eager'


def _episode(bag: EpisodeBag) -> tuple[tuple[Sent, ...], tuple[Sent, ...]]:
    """Return the episode's states up to RUNNING, and those after it."""
    opening, closing = [], []
    for raw in bag.raw(topics.EPISODE.name):
        state = bag.reader.decode(raw)
        if state.episode_id == bag.meta.id:
            sent = Sent(topics.EPISODE.name, bytes(raw.data))
            (opening if state.phase in _IN_EPISODE else closing).append(sent)
    return tuple(opening), tuple(closing)


def _sources(bag: EpisodeBag) -> dict[str, list[tuple[int, Sent]]]:
    """Return (stamp, message) by source, in the order of the stamps."""
    names = {JOINTS: [topics.JOINT_STATES.name], STATE: [topics.STATE_OBSERVATION.name]}
    for camera in bag.robot.camera_names:
        names[camera_source(camera)] = [
            topics.camera(camera).name, topics.camera_raw(camera).name]
    return {source: sorted(((header_stamp(raw.data), Sent(topic, bytes(raw.data)))
                            for topic in wanted for raw in bag.raw(topic)),
                           key=lambda pair: pair[0])
            for source, wanted in names.items()}


def _modes(bag: EpisodeBag) -> list[tuple[int, Sent, int]]:
    found = [(stamp_ns(message.header.stamp), Sent(topics.CONTROL_MODE.name, bytes(raw.data)),
              int(message.mode))
             for raw in bag.raw(topics.CONTROL_MODE.name)
             for message in (bag.reader.decode(raw),)]
    return sorted(found, key=lambda entry: entry[0])


def _steps(ticks: list[int], sources: dict[str, list[tuple[int, Sent]]],
           modes: list[tuple[int, Sent, int]], chunks: dict[int, Any]) -> Iterator[Step]:
    shown = dict.fromkeys(sources, 0)
    stamps = {source: [stamp for stamp, _ in samples] for source, samples in sources.items()}
    changes, mode = 0, 0
    for tick in ticks:
        before: list[Sent] = []
        while changes < len(modes) and modes[changes][0] <= tick:
            before.append(modes[changes][1])
            mode = modes[changes][2]
            changes += 1
        had = _arrived(chunks.get(tick))
        for source, samples in sources.items():
            end = bisect_right(stamps[source], min(tick, had.get(source, tick)))
            before += [sent for _, sent in samples[shown[source]:end]]
            shown[source] = max(shown[source], end)
        yield Step(tick, tuple(before), mode)


def _arrived(chunk: Any) -> dict[str, int]:
    """Return the newest stamp of each source that had arrived when the chunk was planned."""
    if chunk is None:
        return {}
    return dict(zip(chunk.observation_sources, map(stamp_ns, chunk.observation_stamps)))

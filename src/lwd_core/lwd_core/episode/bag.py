# SPDX-License-Identifier: Apache-2.0
"""An episode's bag by topic name relative to its robot, and what may be said of it undecoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lwd_core import topics
from lwd_core.episode import cdr
from lwd_core.episode.cdr import image_bytes
from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.episode.reader import EpisodeBagReader, header_stamp, stamp_ns
from lwd_core.episode.scan import RawMessage
from lwd_core.images import decode_raw, Image, ImageError
from lwd_core.observation import ObservationAssembler, ObservationError
from lwd_core.robot import RobotSpec

# Recorded beside a robot's own topics, and read by nobody here.
_ELSEWHERE = (topics.CLOCK, topics.DIAGNOSTICS, topics.CHECKPOINT, topics.LEARNER_STATUS,
              topics.RECORDER_STATUS, topics.UPLOAD_STATUS)


@dataclass(frozen=True)
class Timing:
    """How a source's stamps run, by arrival. Times in s; NaN where there are too few samples."""

    count: int
    rate: float  # Hz
    longest_gap: float
    disordered: int  # stamped before the sample that came before
    duplicates: int  # stamped as the sample that came before


class RawFrame:
    """A sensor_msgs/Image still in the bag; decoded when it is first joined."""

    def __init__(self, reader: EpisodeBagReader, message: RawMessage) -> None:
        self._reader = reader
        self._message = message

    @property
    def data(self) -> memoryview:
        """Return the serialised message."""
        return self._message.data

    def __call__(self) -> Image:
        """Return RGB uint8 [H, W, 3]; ImageError if it cannot be decoded."""
        return decode_raw(self._reader.decode(self._message))


class EpisodeBag:
    """One bag's messages. Topics of unknown names are skipped and named in `skipped`."""

    def __init__(self, reader: EpisodeBagReader, meta: EpisodeMeta, robot: RobotSpec) -> None:
        """Sort the messages by topic; EpisodeError if the bag is not whole or a type is wrong."""
        self.reader = reader
        self.meta = meta
        self.robot = robot
        self._by_topic: dict[str, list[RawMessage]] = {}
        prefix = f'/{meta.robot}/'
        names: dict[int, list[RawMessage]] = {}
        for message in reader.raw():
            found = names.get(message.channel)
            if found is None:
                topic = reader.topic_of(message).removeprefix(prefix)
                found = names[message.channel] = self._by_topic.setdefault(topic, [])
            found.append(message)
        self.skipped = self._check_types(prefix)
        self._stamps: dict[str, NDArray[np.int64]] = {}
        self._frames: dict[str, list[tuple[int, memoryview | RawFrame]]] = {}

    def _check_types(self, prefix: str) -> dict[str, str]:
        """Return topic -> type of what is not LWD's."""
        expected = {spec.name: spec.type for spec in topics.robot_topics(
            self.robot.camera_names, self.robot.command_interface)}
        expected |= {spec.name: spec.type for spec in _ELSEWHERE}
        expected |= {spec.name: spec.type for spec in map(
            topics.camera_raw, self.robot.camera_names)}
        skipped = {}
        for topic, type_ in self.reader.topics.items():
            name = topic.removeprefix(prefix)
            if name not in expected:
                skipped[topic] = type_
            elif type_ != expected[name]:
                raise EpisodeError('other_type', f'{self.reader.path}: {topic} has type {type_}, '
                                                 f'must have {expected[name]}')
        return skipped

    def raw(self, name: str) -> list[RawMessage]:
        """Return a topic's messages undecoded, in file order."""
        return self._by_topic.get(name, [])

    def decoded(self, name: str) -> Iterator[Any]:
        """Yield the decoded messages of a topic, in file order."""
        return map(self.reader.decode, self.raw(name))

    def stamps(self, name: str) -> NDArray[np.int64]:
        """Return the header stamps [N] of a topic in file order."""
        if name not in self._stamps:
            self._stamps[name] = np.array([header_stamp(one.data) for one in self.raw(name)],
                                          np.int64)
        return self._stamps[name]

    def frames(self, camera: str) -> list[tuple[int, memoryview | RawFrame]]:
        """Return (stamp, JPEG or raw frame) of a camera in file order, compressed and raw."""
        if camera not in self._frames:
            self._frames[camera] = self._read_frames(camera)
        return self._frames[camera]

    def _read_frames(self, camera: str) -> list[tuple[int, memoryview | RawFrame]]:
        name = topics.camera(camera).name
        compressed, raw = self.raw(name), self.raw(topics.camera_raw(camera).name)
        if not raw:
            stamps = self.stamps(name).tolist()
            return list(zip(stamps, cdr.images_bytes([one.data for one in compressed])))
        both = [*((one, False) for one in compressed), *((one, True) for one in raw)]
        return [(header_stamp(message.data),
                 RawFrame(self.reader, message) if is_raw else image_bytes(message.data))
                for message, is_raw in sorted(both, key=lambda pair: pair[0].log_ns)]

    def executed(self) -> list[Any]:
        """Return the executed actions of RUNNING, one a tick, in tick order."""
        start, end = self.meta.started_ns, self.meta.ended_ns
        found: dict[int, RawMessage] = {}
        newest = 0
        messages = self.raw(topics.EXECUTED_ACTION.name)
        for tick, raw in zip(self.stamps(topics.EXECUTED_ACTION.name).tolist(), messages):
            never_ran = start == end == 0  # a simulated clock may start an episode at 0
            if never_ran or tick < start or (end and tick > end):
                continue
            if tick < newest:
                raise EpisodeError('clock', f'{self.reader.path}: tick {tick} ns comes after '
                                            f'{newest} ns: the clock jumped back')
            newest = tick
            found[tick] = raw  # the last one sent in a tick counts
        if self.reader.is_defined_as(*cdr.EXECUTED_ACTION):
            return list(cdr.executed_actions([raw.data for raw in found.values()]))
        return [self.reader.decode(raw) for raw in found.values()]

    def chunk_sources(self) -> dict[int, dict[str, int]]:
        """Return what was joined live: tick -> source -> stamp."""
        return {
            stamp_ns(chunk.header.stamp): dict(
                zip(chunk.observation_sources, map(stamp_ns, chunk.observation_stamps)))
            for chunk in self.decoded(topics.POLICY_CHUNK.name) if not chunk.shadow
        }

    def feed(self, assembler: ObservationAssembler) -> None:
        """Give every sensor sample to the assembler."""
        try:
            name = topics.JOINT_STATES.name
            for stamp, (names, positions) in zip(self.stamps(name).tolist(), self._joints()):
                assembler.add_joints(stamp, names, positions)
            if assembler.spec.mode == 'state':
                name = topics.STATE_OBSERVATION.name
                for stamp, state in zip(self.stamps(name).tolist(), self.decoded(name)):
                    assembler.add_state(stamp, state.names, state.values)
        except ObservationError as error:
            reason = 'nan' if 'finite' in str(error) else 'other_robot'
            raise EpisodeError(reason, f'{self.reader.path}: {error}') from error
        for camera in assembler.spec.cameras:
            for stamp, data in self.frames(camera):
                payload: Any = data
                assembler.add_image(camera, stamp, payload)

    def _joints(self) -> Iterator[tuple[Any, Any]]:
        """Yield names and positions of every joint state."""
        name = topics.JOINT_STATES.name
        if self.reader.is_defined_as(*cdr.JOINT_STATE):
            yield from cdr.joint_states([raw.data for raw in self.raw(name)])
            return
        yield from ((joints.name, joints.position) for joints in self.decoded(name))

    def timing(self, name: str) -> Timing:
        """Return how the stamps of a topic with headers run while the episode did."""
        stamps = self.stamps(name)
        inside = (stamps >= self.meta.started_ns) & (stamps <= (self.meta.ended_ns or 2**62))
        return timing(stamps[inside])


def timing(stamps: NDArray[np.int64]) -> Timing:
    """Return how stamps [N] in ns run."""
    if len(stamps) < 2:
        return Timing(len(stamps), float('nan'), float('nan'), 0, 0)
    steps = np.diff(stamps)
    forward = steps if (steps > 0).all() else np.diff(np.unique(stamps))
    span = float(stamps.max() - stamps.min()) / 1e9
    return Timing(
        len(stamps), len(forward) / span if span else float('nan'),
        float(forward.max()) / 1e9 if len(forward) else 0.0,
        int((steps < 0).sum()), int((steps == 0).sum()))


def glance(frame: memoryview | RawFrame) -> NDArray[np.uint8]:
    """Return a frame in grey, an eighth of its size where it is a JPEG: cheap to look at.

    Raises ImageError if it cannot be decoded.
    """
    if isinstance(frame, RawFrame):
        return frame()
    found = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) \
        if len(frame) else None
    if found is None:
        raise ImageError(f'compressed image of {len(frame)} bytes is neither JPEG nor PNG')
    return np.asarray(found, np.uint8)

# SPDX-License-Identifier: Apache-2.0
"""Join stamped samples to the observation of a control tick.

The policy node feeds `ObservationAssembler` with messages as they arrive, the learner's ingest with
the same messages from a bag. `at` joins the newest sample of each source not later than the tick;
given the stamps that were joined live, it joins exactly those, whatever arrived since.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwd_core.images import decode_jpeg, Image, ImageError, resize
from lwd_core.robot import RobotSpec
from lwd_core.spec import SpecError

JOINTS = 'joint_states'
STATE = 'state_observation'
MODES = ('pixels', 'state')
HISTORY = 64  # samples kept per source when live: over a second of any sensor at control rates
DEFAULT_IMAGE_SIZE = (96, 96)  # px, width and height


class ObservationError(RuntimeError):
    """No observation can be joined at this tick, or a sample cannot be used."""


def camera_source(camera: str) -> str:
    """Return the source name of a camera."""
    return f'camera/{camera}'


@dataclass(frozen=True)
class Observation:
    """What a policy sees at one tick."""

    stamp_ns: int
    joints: NDArray[np.float32]  # [J]
    images: dict[str, Image]  # camera -> RGB [H, W, 3]; empty in state mode
    state: NDArray[np.float32] | None  # [S]; None in pixels mode
    instruction: str
    sources: dict[str, int]  # source -> stamp of the sample used [ns]


@dataclass(frozen=True)
class ObservationSpec:
    """What belongs into an observation."""

    joint_names: tuple[str, ...]
    cameras: tuple[str, ...] = ()
    state_names: tuple[str, ...] = ()
    mode: str = 'pixels'
    image_size: tuple[int, int] = DEFAULT_IMAGE_SIZE  # (width, height) px
    max_age: dict[str, float] = field(default_factory=dict)  # s by source; none: no bound

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SpecError(f'observation: mode: is {self.mode!r}, must be one of '
                            f'{", ".join(MODES)}')
        if self.mode == 'state' and not self.state_names:
            raise SpecError('observation: mode: is state, but the robot file names no state_names')

    @classmethod
    def for_robot(cls, robot: RobotSpec, mode: str, cameras: Sequence[str] | None = None,
                  image_size: tuple[int, int] | None = None) -> ObservationSpec:
        """Return the specification for `robot`; `cameras` None takes all it has."""
        chosen = robot.camera_names if cameras is None else tuple(cameras)
        robot.require_cameras(chosen, 'observation')
        if image_size is None and robot.cameras:
            image_size = (robot.cameras[0].width, robot.cameras[0].height)
        ages = robot.max_observation_age
        max_age = {JOINTS: ages[JOINTS], STATE: ages[STATE]}
        for camera in chosen:
            max_age[camera_source(camera)] = ages.get(camera_source(camera), ages['camera'])
        return cls(
            joint_names=robot.joint_names,
            cameras=chosen if mode == 'pixels' else (),
            state_names=robot.state_names if mode == 'state' else (),
            mode=mode, image_size=image_size or DEFAULT_IMAGE_SIZE, max_age=max_age)

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the sources every observation is joined from."""
        last = (STATE,) if self.mode == 'state' else tuple(map(camera_source, self.cameras))
        return (JOINTS, *last)


class _Series:
    """Samples of one source, sorted by stamp; the oldest are dropped beyond `limit`."""

    def __init__(self, limit: int | None) -> None:
        self.stamps: list[int] = []
        self._payloads: list[Any] = []
        self._limit = limit

    def add(self, stamp_ns: int, payload: Any) -> bool:
        """Insert a sample; False if there is one with this stamp, which is kept."""
        index = bisect_right(self.stamps, stamp_ns)
        if index and self.stamps[index - 1] == stamp_ns:
            return False
        self.stamps.insert(index, stamp_ns)
        self._payloads.insert(index, payload)
        if self._limit is not None and len(self.stamps) > self._limit:
            del self.stamps[0], self._payloads[0]
        return True

    def not_later(self, stamp_ns: int) -> int | None:
        """Return the newest stamp at or before `stamp_ns`."""
        index = bisect_right(self.stamps, stamp_ns)
        return self.stamps[index - 1] if index else None

    def get(self, stamp_ns: int) -> Any:
        """Return the payload with exactly this stamp; KeyError if there is none."""
        index = bisect_right(self.stamps, stamp_ns) - 1
        if index < 0 or self.stamps[index] != stamp_ns:
            raise KeyError(stamp_ns)
        return self._payloads[index]

    def replace(self, stamp_ns: int, payload: Any) -> None:
        self._payloads[self.stamps.index(stamp_ns)] = payload


class ObservationAssembler:
    """Buffers samples and joins observations; not thread-safe.

    `history` bounds the samples kept per source; None keeps all, for reading a bag.
    """

    def __init__(self, spec: ObservationSpec, history: int | None = HISTORY) -> None:
        self.spec = spec
        self.late = 0
        self._history = history
        self.reset()

    def reset(self) -> None:
        """Forget every sample: after a clock that jumped back, none is comparable any more."""
        self._series = {source: _Series(self._history) for source in self.spec.sources}
        self._joined: tuple[int, dict[str, int]] | None = None

    def add_joints(self, stamp_ns: int, names: Sequence[str], positions: Sequence[float]) -> None:
        """Add joint positions in any order; rad, or fraction open for jaws."""
        self._add(JOINTS, stamp_ns,
                  _ordered(JOINTS, self.spec.joint_names, names, positions))

    def add_state(self, stamp_ns: int, names: Sequence[str], values: Sequence[float]) -> None:
        """Add the privileged state in any order; ignored in pixels mode."""
        if self.spec.mode == 'state':
            self._add(STATE, stamp_ns, _ordered(STATE, self.spec.state_names, names, values))

    def add_image(self, camera: str, stamp_ns: int,
                  data: bytes | Image | Callable[[], Image]) -> None:
        """Add JPEG bytes or what returns an RGB array, decoded when first joined, or the array.

        Other cameras are ignored.
        """
        if camera in self.spec.cameras:
            self._add(camera_source(camera), stamp_ns, data)

    def at(self, tick_ns: int, instruction: str, sources: dict[str, int] | None = None,
           decode: bool = True) -> Observation:
        """Join the observation of `tick_ns`; `sources` (source -> stamp) forces these samples.

        Without `decode`, images are as they came, JPEG as uint8 [bytes]; `decoded` makes of it
        what `at` would have returned, in a process that has the time.
        """
        used = self._as_of(tick_ns) if sources is None else self._exactly(sources)
        image = self._image if decode else self._raw_image
        images = {camera: image(camera, used[camera_source(camera)])
                  for camera in self.spec.cameras}
        state = self._series[STATE].get(used[STATE]) if self.spec.mode == 'state' else None
        if self._joined is None or tick_ns >= self._joined[0]:
            self._joined = (tick_ns, used)
        return Observation(tick_ns, self._series[JOINTS].get(used[JOINTS]), images, state,
                           instruction, used)

    def complete(self, tick_ns: int, sources: Sequence[str] | None = None) -> bool:
        """Tell whether each of `sources` (None: all) has a sample stamped `tick_ns`."""
        return all(self._series[source].not_later(tick_ns) == tick_ns
                   for source in (self._series if sources is None else sources))

    def stamps_at(self, tick_ns: int) -> dict[str, int]:
        """Return the stamp each source would be joined with at `tick_ns`, without decoding."""
        return self._as_of(tick_ns)

    def payload(self, source: str, stamp_ns: int) -> Any:
        """Return the sample as it was added (JPEG bytes, or an array)."""
        return self._series[source].get(stamp_ns)

    def image(self, camera: str, stamp_ns: int) -> Image:
        """Return the camera's sample of exactly this stamp, decoded, in the observation's size."""
        return self._image(camera, stamp_ns)

    def _add(self, source: str, stamp_ns: int, payload: Any) -> None:
        new = self._series[source].add(stamp_ns, payload)
        if new and self._joined is not None:
            tick_ns, used = self._joined
            self.late += used[source] < stamp_ns <= tick_ns

    def _as_of(self, tick_ns: int) -> dict[str, int]:
        used: dict[str, int] = {}
        for source, series in self._series.items():
            stamp = series.not_later(tick_ns)
            bound = self.spec.max_age.get(source)
            if stamp is None:
                raise ObservationError(f'{source}: no sample yet at tick {tick_ns / 1e9:.3f} s')
            age = (tick_ns - stamp) / 1e9
            if bound is not None and age > bound:
                raise ObservationError(f'{source}: newest sample is {age:.3f} s old at tick '
                                       f'{tick_ns / 1e9:.3f} s, bound {bound:g} s')
            used[source] = stamp
        return used

    def _exactly(self, sources: dict[str, int]) -> dict[str, int]:
        used = {}
        for source, series in self._series.items():
            if source not in sources:
                raise ObservationError(f'{source}: is not among the recorded sources '
                                       f'{", ".join(sorted(sources))}')
            try:
                series.get(sources[source])
            except KeyError:
                raise ObservationError(f'{source}: the sample stamped {sources[source]} ns is '
                                       'not there') from None
            used[source] = sources[source]
        return used

    def _raw_image(self, camera: str, stamp_ns: int) -> Image:
        """Return the image as it came; JPEG as uint8 [bytes]."""
        payload = self._series[camera_source(camera)].get(stamp_ns)
        if isinstance(payload, bytes):
            return np.frombuffer(payload, np.uint8)
        return payload if isinstance(payload, np.ndarray) else self._image(camera, stamp_ns)

    def _image(self, camera: str, stamp_ns: int) -> Image:
        """Return the decoded image, decoding each sample once."""
        series = self._series[camera_source(camera)]
        payload = series.get(stamp_ns)
        if isinstance(payload, _Decoded):
            return payload.image
        image = _decoded(camera, payload, self.spec.image_size)
        if self._history is not None:  # a whole bag decoded would not fit into memory
            series.replace(stamp_ns, _Decoded(image))
        return image


def decoded(observation: Observation, image_size: tuple[int, int]) -> Observation:
    """Return an observation joined without `decode` as it would have been joined with it."""
    images = {camera: _decoded(camera, image, image_size)
              for camera, image in observation.images.items()}
    return replace(observation, images=images)


def _decoded(camera: str, payload: bytes | Image | Callable[[], Image],
             size: tuple[int, int]) -> Image:
    try:
        payload = payload() if callable(payload) else payload
        if not isinstance(payload, np.ndarray) or payload.ndim == 1:
            payload = decode_jpeg(payload)
        return resize(payload, size)
    except ImageError as error:
        raise ObservationError(f'{camera_source(camera)}: {error}') from error


@dataclass(frozen=True)
class _Decoded:
    """Marks an image that has its final size."""

    image: Image


def _ordered(source: str, wanted: Sequence[str], names: Sequence[str],
             values: Sequence[float]) -> NDArray[np.float32]:
    """Return float32 `values` in the order of `wanted`; every one must be there and finite."""
    if len(names) != len(values):
        raise ObservationError(f'{source}: {len(names)} names for {len(values)} values')
    if tuple(names) != tuple(wanted):
        by_name = dict(zip(names, values))
        missing = [name for name in wanted if name not in by_name]
        if missing:
            raise ObservationError(f'{source}: lacks {", ".join(missing)}')
        values = [by_name[name] for name in wanted]
    ordered = np.array(values, np.float32)
    if not np.isfinite(ordered).all():
        worst = wanted[int(np.flatnonzero(~np.isfinite(ordered))[0])]
        raise ObservationError(f'{source}: {worst} is not finite')
    return ordered

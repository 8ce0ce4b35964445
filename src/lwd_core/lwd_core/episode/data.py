# SPDX-License-Identifier: Apache-2.0
"""Ingest: one recorded episode becomes arrays. A pure function of the files.

The ticks of an episode are the stamps of `executed_action` while it was RUNNING. Observations are
joined there by the policy node's own ObservationAssembler, with the stamps that were joined live
wherever the bag holds an ActionChunk of that tick; actions are what was sent to the robot.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwd_core.episode.audit import Audit, audit_episode, refused
from lwd_core.episode.bag import EpisodeBag
from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.episode.reader import EpisodeBagReader, stamp_ns
from lwd_core.hashing import sha256_file
from lwd_core.images import encode_jpeg
from lwd_core.observation import (
    camera_source,
    JOINTS,
    Observation,
    ObservationAssembler,
    ObservationError,
    ObservationSpec,
    STATE,
)
from lwd_core.robot import RobotSpec

_GAP_PERIODS = 1.5  # ticks further apart than this do not follow each other
_MAX_MISSING_PERIODS = 10  # between the last tick and the end; more hides what was labelled


@dataclass
class EpisodeData:
    """T ticks of one episode; J joints, d = J action dimensions, S state entries."""

    meta: EpisodeMeta
    ticks_ns: NDArray[np.int64]  # [T]
    joints: NDArray[np.float32]  # [T, J]
    state: NDArray[np.float32] | None  # [T, S]; None in pixels mode
    actions: NDArray[np.float32]  # [T, d] as sent
    requested: NDArray[np.float32]  # [T, d]; as sent where nobody asked (HOLD)
    source: NDArray[np.uint8]  # [T] ExecutedAction.SOURCE_*
    clamped: NDArray[np.uint8]  # [T] ExecutedAction.CLAMP_* bits
    chunk_id: NDArray[np.int64]  # [T] ActionChunk.chunk_id; 0 where no policy acted
    chunk_index: NDArray[np.int64]  # [T]
    gaps: NDArray[np.bool_]  # [T] True where tick t+1 does not follow t; False at the last
    sources: list[dict[str, int]]  # [T] source -> stamp of the sample joined
    assembler: ObservationAssembler = field(repr=False)
    dropped: int = 0  # ticks left out since no observation could be joined there
    substituted: int = 0  # ticks whose recorded sample is not in the bag: the newest one was taken
    audit: Audit = field(default_factory=Audit)

    def __len__(self) -> int:
        return len(self.ticks_ns)

    @property
    def outcome(self) -> str:
        """Return 'success', 'failure' or 'unlabelled'."""
        return self.meta.outcome

    @property
    def success(self) -> bool:
        """Say whether the episode was labelled a success."""
        return self.meta.outcome == 'success'

    @property
    def terminal(self) -> bool:
        """Say whether nothing follows the last tick: true of every labelled episode."""
        return self.meta.outcome in ('success', 'failure')

    @property
    def instruction(self) -> str:
        """Return what the robot was told to do."""
        return self.meta.instruction

    @property
    def cameras(self) -> tuple[str, ...]:
        """Return the cameras with frames."""
        return self.assembler.spec.cameras

    def frame(self, camera: str, t: int) -> bytes:
        """Return the JPEG that `camera` showed at tick index `t`; raw recordings are encoded."""
        source = camera_source(camera)
        payload = self.assembler.payload(source, self.sources[t][source])
        return encode_jpeg(payload()) if callable(payload) else bytes(payload)

    def image(self, camera: str, t: int) -> NDArray[np.uint8]:
        """Return the RGB image [H, W, 3] that the policy saw of `camera` at tick index `t`."""
        return self.assembler.image(camera, self.sources[t][camera_source(camera)])

    def frame_stamps(self, camera: str) -> NDArray[np.int64]:
        """Return the stamps [T] of the frames; equal stamps are the same frame."""
        source = camera_source(camera)
        return np.array([used[source] for used in self.sources], np.int64)

    def observation(self, t: int) -> Observation:
        """Return the observation at tick index `t`, images decoded, as the policy saw it."""
        return self.assembler.at(int(self.ticks_ns[t]), self.instruction, self.sources[t])


def read_episode(
    folder: Path | str,
    robot: RobotSpec,
    spec: ObservationSpec,
    tasks: Collection[str] | None = None,
    *,
    require_outcome: bool = True,
    verify: bool = True,
) -> EpisodeData:
    """Read the episode in `folder`, as `robot` with observations of `spec`.

    tasks: known task names, None: any. verify: check the bag's sha256. Raises EpisodeError.
    """
    folder = Path(folder)
    meta = EpisodeMeta.read(folder)
    _check_meta(folder, meta, robot, tasks, require_outcome)
    path = _bag_path(folder, meta, verify)
    bag = EpisodeBag(EpisodeBagReader(path), meta, robot)
    assembler = ObservationAssembler(spec, history=None)
    bag.feed(assembler)
    data = _assemble(meta, robot, bag, assembler)
    data.audit = audit_episode(data, bag)
    return data


def audit_folder(folder: Path | str, robot: RobotSpec, spec: ObservationSpec) -> Audit:
    """Return the audit of the episode in `folder`, also of one that cannot be read."""
    try:
        return read_episode(folder, robot, spec, require_outcome=False).audit
    except EpisodeError as error:
        return refused(error)


def _check_meta(folder: Path, meta: EpisodeMeta, robot: RobotSpec,
                tasks: Collection[str] | None, require_outcome: bool) -> None:
    if meta.outcome == 'discarded':
        raise EpisodeError('discarded', f'{folder}: was discarded: {meta.detail or "no reason"}')
    if require_outcome and meta.outcome == 'unlabelled':
        raise EpisodeError('no_outcome', f'{folder}: has no outcome: label it with `lwd episodes '
                                         f'label {meta.id} success|failure`')
    if meta.robot_digest != robot.digest:
        raise EpisodeError('other_robot', f'{folder}: recorded on {meta.robot} with robot '
                                          f'specification {meta.robot_digest[:12]}, expected '
                                          f'{robot.digest[:12]}{_difference(meta, robot)}')
    if tasks is not None and meta.task not in tasks:
        raise EpisodeError('unknown_task', f'{folder}: task {meta.task!r} is unknown, known are '
                                           f'{", ".join(sorted(tasks))}')


def _difference(meta: EpisodeMeta, robot: RobotSpec) -> str:
    theirs, ours = meta.robot_spec, robot.to_dict()
    keys = [key for key in ours if theirs and key != 'name' and theirs.get(key) != ours[key]]
    return f' (they differ in {", ".join(keys)})' if keys else ''


def _bag_path(folder: Path, meta: EpisodeMeta, verify: bool) -> Path:
    name = str(meta.bag.get('file', ''))
    path = folder / name
    if not name or Path(name).name != name or not path.is_file():
        raise EpisodeError('missing', f'{folder}: bag {name!r} is not there')
    size, expected = path.stat().st_size, meta.bag.get('bytes')
    if size != expected:
        raise EpisodeError('truncated', f'{path}: has {size} bytes, must have {expected}')
    if verify and sha256_file(path) != meta.bag.get('sha256'):
        raise EpisodeError('damaged', f'{path}: sha256 differs from the one in episode.json')
    return path


def _assemble(meta: EpisodeMeta, robot: RobotSpec, bag: EpisodeBag,
              assembler: ObservationAssembler) -> EpisodeData:
    path = bag.reader.path
    executed, live = bag.executed(), bag.chunk_sources()
    ticks, used, actions, problem, substituted = [], [], [], '', 0
    for action in executed:
        tick = stamp_ns(action.header.stamp)
        try:
            sources, replaced = _join(assembler, tick, live.get(tick))
        except ObservationError as error:
            problem = problem or str(error)
            continue
        substituted += replaced
        ticks.append(tick)
        used.append(sources)
        actions.append(action)
    if not ticks:
        raise EpisodeError('no_frames', f'{path}: has {len(executed)} ticks while running and not '
                                        f'one observation {problem}'.rstrip())
    _check_end(path, meta, robot, ticks[-1])
    sent, requested = _actions(path, robot, actions)
    ticks_ns = np.array(ticks, np.int64)
    state = None
    if assembler.spec.mode == 'state':
        state = np.stack([assembler.payload(STATE, s[STATE]) for s in used])
    return EpisodeData(
        meta=meta, ticks_ns=ticks_ns,
        joints=np.stack([assembler.payload(JOINTS, s[JOINTS]) for s in used]), state=state,
        actions=sent, requested=requested,
        source=np.array([a.source for a in actions], np.uint8),
        clamped=np.array([a.clamped for a in actions], np.uint8),
        chunk_id=np.array([a.chunk_id for a in actions], np.int64),
        chunk_index=np.array([a.chunk_index for a in actions], np.int64),
        gaps=_gaps(ticks_ns, robot.period_ns), sources=used, assembler=assembler,
        dropped=len(executed) - len(ticks), substituted=substituted)


def _check_end(path: Path, meta: EpisodeMeta, robot: RobotSpec, last_ns: int) -> None:
    """Refuse a labelled episode whose end was not recorded: its outcome is not that of its end."""
    missing = meta.ended_ns - last_ns
    if meta.outcome != 'unlabelled' and missing > _MAX_MISSING_PERIODS * robot.period_ns:
        raise EpisodeError('truncated', f'{path}: its last tick is {missing / 1e9:.2f} s before '
                                        'the end of the episode, at most '
                                        f'{_MAX_MISSING_PERIODS} periods may be missing')


def _join(assembler: ObservationAssembler, tick: int,
          live: dict[str, int] | None) -> tuple[dict[str, int], bool]:
    """Return the stamps joined at a tick, and whether a recorded one had to be replaced."""
    wanted = assembler.spec.sources
    if live is None or not all(source in live for source in wanted):
        return assembler.stamps_at(tick), False  # no chunk here, or of another observation mode
    used = {source: live[source] for source in wanted}
    try:
        for source, stamp in used.items():
            assembler.payload(source, stamp)
    except KeyError:
        return assembler.stamps_at(tick), True
    return used, False


def _actions(path: Path, robot: RobotSpec,
             executed: list[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    names = list(robot.joint_names)
    for action in executed:
        if list(action.joint_names) != names or len(action.sent) != len(names):
            raise EpisodeError('other_robot', f'{path}: executed_action has joints '
                                              f'{list(action.joint_names)}, must have {names}')
    sent = np.stack([action.sent for action in executed]).astype(np.float32)
    wished = [a.requested if len(a.requested) == len(names) else a.sent for a in executed]
    if not np.isfinite(sent).all():
        t, joint = np.argwhere(~np.isfinite(sent))[0]
        raise EpisodeError('nan', f'{path}: sent action {t} of {names[joint]} is not finite')
    return sent, np.stack(wished).astype(np.float32)


def _gaps(ticks_ns: NDArray[np.int64], period_ns: int) -> NDArray[np.bool_]:
    gaps = np.zeros(len(ticks_ns), np.bool_)
    gaps[:-1] = np.diff(ticks_ns) > _GAP_PERIODS * period_ns
    return gaps

# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a recording, and whether to learn from it: use, use with warning, quarantine.

The audit reads stamps and bytes; of each camera it decodes a few frames only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
import math
from typing import Any, TYPE_CHECKING
import zlib

import numpy as np
from numpy.typing import NDArray

from lwd_core import topics
from lwd_core.episode.bag import EpisodeBag, glance, RawFrame, Timing
from lwd_core.images import ImageError

if TYPE_CHECKING:
    from lwd_core.episode.data import EpisodeData

USE, WARN, QUARANTINE = 'use', 'use with warning', 'quarantine'
RATE_SHARE = 0.8  # of the nominal rate; less is worth a word
LOST_SHARE = 0.5  # of the ticks without an observation: nothing is left to learn from
CLAMPED_SHARE = 0.2  # of the ticks: the policy asks for what the robot cannot do
STILL = 1e-4  # rad: a joint that moves less never moved
ASKED = 0.1  # rad: it was asked to move by more than that
FROZEN_S = 1.0  # s without change while the robot moves: a dead encoder or camera
BLACK_LEVEL, BLACK_SPREAD = 10.0, 5.0  # of 255: mean and deviation of a black frame
BLACK_SAMPLES = 8  # frames of a camera that are decoded
_CLAMP_INVALID = 8  # lwd_msgs/ExecutedAction.CLAMP_INVALID
_SOURCE_HOLD = 0


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `level` is WARN or QUARANTINE."""

    level: str
    text: str


@dataclass(frozen=True)
class Audit:
    """The audit of one episode; `facts` are plain numbers by name."""

    findings: tuple[Finding, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Return the worst level of all findings."""
        levels = {finding.level for finding in self.findings}
        return QUARANTINE if QUARANTINE in levels else WARN if levels else USE

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the texts of all findings, the worst first."""
        ordered = sorted(self.findings, key=lambda finding: finding.level != QUARANTINE)
        return tuple(finding.text for finding in ordered)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; NaN becomes None."""
        facts = {key: {k: None if isinstance(v, float) and math.isnan(v) else v
                       for k, v in value.items()} if isinstance(value, dict) else value
                 for key, value in self.facts.items()}
        return {'verdict': self.verdict, 'findings': [asdict(one) for one in self.findings],
                'facts': facts}


def refused(error: Exception) -> Audit:
    """Return the audit of an episode that cannot be read at all."""
    return Audit((Finding(QUARANTINE, str(error)),))


def audit_episode(data: EpisodeData, bag: EpisodeBag) -> Audit:
    """Look at everything that is known to go wrong with a recording."""
    runs = {name: bag.timing(name) for name in _sampled(bag)}
    findings = [*_record(data), *_ticks(data, bag), *_sensors(bag, runs), *_actions(data),
                *_joints(data), *_lateness(bag)]
    facts: dict[str, Any] = {
        'ticks': len(data), 'dropped': data.dropped, 'substituted': data.substituted,
        'gaps': int(data.gaps[:-1].sum()),
        'held_share': float(np.mean(data.source == _SOURCE_HOLD)),
        'clamped_share': float(np.mean(data.clamped != 0)),
        'takeover_share': float(np.mean(data.source == 2)),
    }
    for camera in bag.robot.camera_names:
        findings += _camera(camera, data, bag)
    facts |= {name: asdict(run) for name, run in runs.items()}
    lost = {topic: one['lost'] for topic, one in data.meta.topics.items() if one.get('lost')}
    if lost:
        facts['lost'] = lost
    return Audit(tuple(findings), facts)


def _sampled(bag: EpisodeBag) -> list[str]:
    names = [topics.JOINT_STATES.name, topics.STATE_OBSERVATION.name, topics.EXECUTED_ACTION.name]
    for camera in bag.robot.camera_names:
        names += [topics.camera(camera).name, topics.camera_raw(camera).name]
    return [name for name in names if bag.raw(name)]


def _record(data: EpisodeData) -> Iterator[Finding]:
    meta = data.meta
    if meta.outcome == 'unlabelled':
        yield Finding(QUARANTINE, 'it has no outcome: label it with `lwd episodes label '
                                  f'{meta.id} success|failure`')
    if meta.outcome == 'discarded':
        yield Finding(QUARANTINE, f'it was discarded: {meta.detail or "no reason"}')
    if meta.recovered:
        yield Finding(WARN, f'it was recovered after a crash ({meta.detail})')
    lost = sum(int(one.get('lost') or 0) for one in meta.topics.values())
    if lost:
        worst = max(meta.topics, key=lambda topic: int(meta.topics[topic].get('lost') or 0))
        yield Finding(WARN, f'{lost} messages were lost while recording, most of {worst}')


def _ticks(data: EpisodeData, bag: EpisodeBag) -> Iterator[Finding]:
    gaps = int(data.gaps[:-1].sum())
    if gaps:
        longest = float(np.diff(data.ticks_ns).max()) / 1e9
        yield Finding(WARN, f'{gaps} gaps between ticks, the longest {longest:.2f} s')
    if data.dropped:
        share = data.dropped / (len(data) + data.dropped)
        level = QUARANTINE if share > LOST_SHARE else WARN
        yield Finding(level, f'{data.dropped} ticks without an observation ({share:.0%})')
    if data.substituted:
        yield Finding(WARN, f'{data.substituted} ticks with another sample than the policy saw')
    for topic, type_ in sorted(bag.skipped.items()):
        yield Finding(WARN, f'{topic} ({type_}) is unknown and was skipped')


def _sensors(bag: EpisodeBag, runs: dict[str, Timing]) -> Iterator[Finding]:
    nominal = {topics.JOINT_STATES.name: bag.robot.control_rate}
    for camera in bag.robot.cameras:
        rate = min(camera.rate, bag.robot.control_rate)
        nominal[topics.camera(camera.name).name] = rate
        nominal[topics.camera_raw(camera.name).name] = rate
    for name, run in runs.items():
        if name in nominal and run.rate < RATE_SHARE * nominal[name]:
            yield Finding(WARN, f'{name} came at {run.rate:.1f} Hz, nominal is '
                                f'{nominal[name]:g} Hz')
        if run.disordered:
            yield Finding(WARN, f'{name}: {run.disordered} samples came out of order; they were '
                                'sorted by stamp')
        if run.duplicates and name != topics.EXECUTED_ACTION.name:
            yield Finding(WARN, f'{name}: {run.duplicates} samples repeat a stamp; the first of '
                                'each counts')


def _actions(data: EpisodeData) -> Iterator[Finding]:
    clamped = float(np.mean(data.clamped != 0))
    if clamped > CLAMPED_SHARE:
        yield Finding(WARN, f'the guard clamped {clamped:.0%} of the actions: saturated')
    invalid = int((data.clamped & _CLAMP_INVALID != 0).sum())
    if invalid:
        yield Finding(WARN, f'{invalid} actions were invalid and held instead')


def _joints(data: EpisodeData) -> Iterator[Finding]:
    names = data.assembler.spec.joint_names
    asked, moved = np.ptp(data.actions, axis=0), np.ptp(data.joints, axis=0)
    frozen = [names[i] for i in np.flatnonzero((asked > ASKED) & (moved < STILL))]
    if frozen:
        whole = len(frozen) == int((asked > ASKED).sum())
        yield Finding(QUARANTINE if whole else WARN, f'frozen joints: {", ".join(frozen)} '
                      'never moved though told to')
        return
    run = _longest_same(_rows(data.joints))
    if run and _seconds(data, run) > FROZEN_S:
        asked = np.ptp(data.actions[run[0]:run[1]], axis=0)
        if (asked > ASKED).any():
            yield Finding(WARN, f'joint states froze for {_seconds(data, run):.1f} s while the '
                                'robot was told to move')


def _camera(camera: str, data: EpisodeData, bag: EpisodeBag) -> Iterator[Finding]:
    start, end = data.meta.started_ns, data.meta.ended_ns or 2**62
    frames = [(stamp, frame) for stamp, frame in bag.frames(camera) if start <= stamp <= end]
    if not frames:
        return
    needed = camera in data.cameras
    run = _longest_same(_same_frames([frame for _, frame in frames]))
    if run:
        begin, stop = frames[run[0]][0], frames[run[1] - 1][0]
        ticks = (data.ticks_ns >= begin) & (data.ticks_ns <= stop)
        moved = bool(ticks.any()) and bool((np.ptp(data.joints[ticks], axis=0) > ASKED).any())
        if (stop - begin) / 1e9 > FROZEN_S and moved:
            whole = run[1] - run[0] > 0.9 * len(frames)
            yield Finding(QUARANTINE if whole and needed else WARN, f'camera {camera} froze for '
                          f'{(stop - begin) / 1e9:.1f} s while the robot moved')
    yield from _black(camera, frames, needed)


def _same_frames(frames: list[Any]) -> NDArray[Any]:
    """Return one number a frame; frames that follow each other and are equal share it.

    Two JPEGs of a moving robot hardly ever have one length, so few are looked into.
    """
    data = [frame.data if isinstance(frame, RawFrame) else frame for frame in frames]
    changed = [len(one) != len(other) or bytes(one) != bytes(other)
               for one, other in zip(data, data[1:])]
    return np.cumsum([0, *changed])


def _black(camera: str, frames: list[tuple[int, Any]], needed: bool) -> Iterator[Finding]:
    chosen = np.unique(np.linspace(0, len(frames) - 1, BLACK_SAMPLES).round().astype(int))
    black = damaged = 0
    for index in chosen:
        try:
            image = glance(frames[index][1])
        except ImageError:
            damaged += 1
            continue
        black += bool(image.mean() < BLACK_LEVEL and image.std() < BLACK_SPREAD)
    if black:
        whole = black == len(chosen)
        yield Finding(QUARANTINE if whole and needed else WARN,
                      f'camera {camera}: {black} of {len(chosen)} frames looked at are black')
    if damaged:
        yield Finding(QUARANTINE if needed else WARN,
                      f'camera {camera}: {damaged} of {len(chosen)} frames looked at cannot be '
                      'decoded')


def _lateness(bag: EpisodeBag) -> Iterator[Finding]:
    """Say how late actions were executed and chunks came; simulated time does not tell."""
    if bag.meta.clock == 'sim':
        return
    name = topics.EXECUTED_ACTION.name
    late = [raw.log_ns - stamp for raw, stamp in zip(bag.raw(name), bag.stamps(name).tolist())]
    if not late:
        return
    period = bag.robot.period_ns
    share = float(np.mean(np.array(late) > 1.5 * period))
    if share > 0.01:
        p99 = float(np.percentile(late, 99)) / 1e6
        yield Finding(WARN, f'{share:.0%} of the actions came over half a period late, p99 '
                            f'{p99:.0f} ms after their tick')


def _rows(values: NDArray[Any]) -> NDArray[Any]:
    """Return one number a row; equal rows share it."""
    return np.array([zlib.crc32(np.ascontiguousarray(row).tobytes()) for row in values])


def _longest_same(marks: NDArray[Any]) -> tuple[int, int] | None:
    """Return [begin, end) of the longest run of at least two equal marks."""
    if len(marks) < 2:
        return None
    edges = np.flatnonzero(np.diff(marks) != 0) + 1
    bounds = np.concatenate([[0], edges, [len(marks)]])
    longest = int(np.argmax(np.diff(bounds)))
    begin, end = int(bounds[longest]), int(bounds[longest + 1])
    return (begin, end) if end - begin > 1 else None


def _seconds(data: EpisodeData, run: tuple[int, int]) -> float:
    return float(data.ticks_ns[run[1] - 1] - data.ticks_ns[run[0]]) / 1e9

# SPDX-License-Identifier: Apache-2.0
"""episode.json: what is known of an episode without opening its bag. Written last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
import json
from pathlib import Path
import re
from typing import Any

from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.migrate import migrate_meta
from lwd_core.store import Store, StoreError, write_atomic

SCHEMA_VERSION = 2
META = 'episode.json'
OUTCOMES = ('unlabelled', 'success', 'failure', 'discarded')  # index = lwd_msgs/Outcome value
SCORES = (0.0, 0.5, 1.0)  # of a sub-step: not done, with a flaw or a retry, done
STOP_REASONS = ('none', 'labelled', 'time_limit', 'requested', 'estop', 'fault')
START_MODES = {1: 'policy', 2: 'human'}  # lwd_msgs/EpisodeState.MODE_*
_ID = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,99}')


@dataclass(frozen=True)
class EpisodeMeta:
    """One episode. Stamps are ROS time in ns, 0 where the moment never came.

    `topics` maps a topic to {type, count, bytes, lost}; `checkpoints` lists {digest, step,
    since_ns} in the order they acted; `interventions` {id, operator, source, reason, end_reason,
    start_tick, end_tick, start_ns, end_ns, checkpoint, overruled_chunk}; `bag` is {file, sha256,
    bytes}. `labels` lists what was said after the recording, {outcome, by, at, was, was_by}, oldest
    first, with {scores, were} where sub-steps were scored; `origin` says where an imported episode
    comes from, {format, path, sha256}, else empty.
    """

    id: str
    robot: str
    robot_digest: str
    task: str
    instruction: str
    outcome: str = 'unlabelled'
    stop_reason: str = 'none'
    detail: str = ''
    start_mode: str = 'policy'
    substep_scores: list[float] = field(default_factory=list)
    seed: int | None = None
    time_limit: float = 0.0  # s
    started_ns: int = 0  # first tick
    ended_ns: int = 0  # last tick
    labelled_by: str = ''
    robot_spec: dict[str, Any] = field(default_factory=dict)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    interventions: list[dict[str, Any]] = field(default_factory=list)
    topics: dict[str, dict[str, Any]] = field(default_factory=dict)
    bag: dict[str, Any] = field(default_factory=dict)
    clock: str = 'wall'  # or 'sim'
    recorded_at: str = ''  # wall time, ISO 8601, when the bag was opened
    recovered: bool = False  # rebuilt from what a crash left behind
    labels: list[dict[str, Any]] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def date(self) -> str:
        """Return the day the bag was opened, YYYY-MM-DD."""
        return self.recorded_at[:10] or '1970-01-01'

    @property
    def store_path(self) -> str:
        """Return the folder of the episode in a store."""
        return f'episodes/{self.robot}/{self.date}/{self.id}'

    @property
    def takeover_share(self) -> float:
        """Return the share of the episode's time that a person drove, in [0, 1]."""
        length = self.ended_ns - self.started_ns
        if length <= 0:
            return float(self.start_mode == 'human')
        if self.start_mode == 'human' and not self.interventions:
            return 1.0
        driven = sum(max(0, min(one.get('end_ns') or self.ended_ns, self.ended_ns)
                         - max(one.get('start_ns') or self.started_ns, self.started_ns))
                     for one in self.interventions)
        return min(1.0, driven / length)

    def relabelled(self, outcome: str, who: str, at: str,
                   scores: Sequence[float] | None = None) -> EpisodeMeta:
        """Return the record with another outcome; what was said before stays in `labels`.

        scores: of the task's sub-steps, in its order, 0, 0.5 or 1 each; None leaves them.
        """
        if outcome not in OUTCOMES:
            raise EpisodeError('meta', f'{self.id}: outcome {outcome!r} refused, must be one of '
                                       f'{", ".join(OUTCOMES)}')
        entry: dict[str, Any] = {
            'outcome': outcome, 'by': who, 'at': at,
            'was': self.outcome, 'was_by': self.labelled_by}
        given = self.substep_scores if scores is None else [float(score) for score in scores]
        if scores is not None:
            wrong = [score for score in given if score not in SCORES]
            if wrong:
                raise EpisodeError('meta', f'{self.id}: sub-step score {wrong[0]:g} refused, must '
                                           'be 0, 0.5 or 1')
            entry |= {'scores': given, 'were': self.substep_scores}
        return replace(self, outcome=outcome, labelled_by=who, substep_scores=given,
                       labels=[*self.labels, entry])

    def to_json(self) -> bytes:
        """Return the file's content."""
        return json.dumps(asdict(self), indent=2, allow_nan=False).encode() + b'\n'

    def write(self, folder: Path) -> None:
        """Write episode.json whole; call it when all other files are durable."""
        write_atomic(folder / META, self.to_json())

    @classmethod
    def from_json(cls, data: bytes, where: str) -> EpisodeMeta:
        """Read and validate episode.json; EpisodeError naming `where` and the field."""
        try:
            value = json.loads(data)
        except ValueError as error:
            raise EpisodeError('meta', f'{where}: {META} is not JSON: {error}') from error
        if not isinstance(value, dict):
            raise EpisodeError('meta', f'{where}: {META} holds no object')
        return cls.from_dict(value, where)

    @classmethod
    def from_dict(cls, value: dict[str, Any], where: str) -> EpisodeMeta:
        """Validate plain data; EpisodeError naming `where` and the field."""
        value = migrate_meta(value, SCHEMA_VERSION)
        version = value.get('schema_version')
        if version != SCHEMA_VERSION:
            raise EpisodeError('meta', f'{where}: schema_version is {version!r}, this software '
                                       f'reads {SCHEMA_VERSION}: update it')
        unknown = sorted(set(value) - set(cls.__dataclass_fields__))
        if unknown:
            raise EpisodeError('meta', f'{where}: unknown field {unknown[0]!r}')
        try:
            meta = cls(**value)
        except TypeError as error:
            raise EpisodeError('meta', f'{where}: {META}: {error}') from error
        _check(meta, where)
        return meta

    @classmethod
    def read(cls, folder: Path) -> EpisodeMeta:
        """Read episode.json of a folder."""
        try:
            data = (folder / META).read_bytes()
        except OSError as error:
            raise EpisodeError('missing', f'{folder}: {META} cannot be read ({error.strerror}): '
                                          'the episode is not complete') from error
        return cls.from_json(data, str(folder))


_TYPES: dict[str, type | tuple[type, ...]] = {
    'id': str, 'robot': str, 'robot_digest': str, 'task': str, 'instruction': str, 'detail': str,
    'labelled_by': str, 'clock': str, 'recorded_at': str, 'recovered': bool,
    'substep_scores': list, 'checkpoints': list, 'interventions': list, 'topics': dict,
    'bag': dict, 'robot_spec': dict, 'labels': list, 'origin': dict,
    'seed': (int, type(None)), 'time_limit': (int, float), 'started_ns': int, 'ended_ns': int,
}
_CHOICES = {
    'outcome': OUTCOMES, 'stop_reason': STOP_REASONS, 'start_mode': tuple(START_MODES.values()),
    'clock': ('wall', 'sim'),
}


def _check(meta: EpisodeMeta, where: str) -> None:
    for name, type_ in _TYPES.items():
        if not isinstance(getattr(meta, name), type_):
            raise EpisodeError('meta', f'{where}: {name} is {getattr(meta, name)!r}, of a wrong '
                                       'type')
    for name, choices in _CHOICES.items():
        if getattr(meta, name) not in choices:
            raise EpisodeError('meta', f'{where}: {name} is {getattr(meta, name)!r}, must be one '
                                       f'of {", ".join(choices)}')
    if not valid_id(meta.id):
        raise EpisodeError('meta', f'{where}: id is {meta.id!r}, must be 1 to 100 letters, '
                                   'digits, "_", "." or "-"')
    if meta.started_ns < 0 or meta.ended_ns < 0:
        raise EpisodeError('meta', f'{where}: stamps must not be negative')


def valid_id(episode_id: str) -> bool:
    """Say whether an episode may have this id (it becomes a file name)."""
    return _ID.fullmatch(episode_id) is not None


def list_episodes(store: Store, robot: str | None = None) -> list[str]:
    """Return the store paths of all complete episodes, by robot, date and id.

    Reads directory entries only, so it stays cheap with many episodes.
    """
    return [
        f'episodes/{name}/{date}/{episode_id}'
        for name in ([robot] if robot else store.children('episodes'))
        for date in store.children(f'episodes/{name}')
        for episode_id in store.marked(f'episodes/{name}/{date}', META)]


def read_meta(store: Store, path: str) -> EpisodeMeta:
    """Read episode.json of the episode at `path` in the store."""
    try:
        return EpisodeMeta.from_json(store.get(f'{path}/{META}'), path)
    except StoreError as error:
        raise EpisodeError('missing', str(error)) from error

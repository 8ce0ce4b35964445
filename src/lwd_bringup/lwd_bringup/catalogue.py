# SPDX-License-Identifier: Apache-2.0
"""Read the store's episode records for people: lists, filters, details, labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lwd_bringup.substeps import parse_scores, stages_of
from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.meta import EpisodeMeta, list_episodes, META, OUTCOMES, read_meta
from lwd_core.store import open_store, Store

DAMAGED = 'damaged'  # stands for the outcome of an episode whose record cannot be read


@dataclass(frozen=True)
class Filter:
    """Which episodes are meant; empty fields mean all. Dates are YYYY-MM-DD of the recording."""

    robot: str = ''
    task: str = ''
    outcome: str = ''
    checkpoint: str = ''  # how the digest of one that acted starts
    min_takeover: float = 0.0  # share of the time that a person drove
    max_takeover: float = 1.0
    takeovers: bool = False  # at least one
    since: str = ''
    until: str = ''
    ids: tuple[str, ...] = ()  # how they start

    def __post_init__(self) -> None:
        """Refuse what no episode can match, naming the option, the value and the bound."""
        if self.outcome and self.outcome not in (*OUTCOMES, DAMAGED):
            raise ValueError(f'--outcome: {self.outcome!r} is not one of {", ".join(OUTCOMES)}')
        for option, day in (('--since', self.since), ('--until', self.until)):
            if day:
                _check_day(option, day)
        if not 0.0 <= self.min_takeover <= self.max_takeover <= 1.0:
            raise ValueError(f'--min-takeover {self.min_takeover:g} and --max-takeover '
                             f'{self.max_takeover:g} must be within 0 and 1, in this order')

    @property
    def looks_inside(self) -> bool:
        """Say whether it takes an episode's record to tell."""
        return bool(self.task or self.outcome or self.checkpoint or self.takeovers
                    or self.min_takeover > 0.0 or self.max_takeover < 1.0)

    def may(self, path: str) -> bool:
        """Tell from an episode's store path whether its record is worth reading."""
        _, robot, date, name = path.split('/')
        return ((not self.robot or robot == self.robot)
                and (not self.since or date >= self.since)
                and (not self.until or date <= self.until)
                and (not self.ids or any(name.startswith(one) for one in self.ids)))

    def takes(self, meta: EpisodeMeta) -> bool:
        """Tell whether an episode is meant."""
        return ((not self.task or meta.task == self.task)
                and (not self.outcome or meta.outcome == self.outcome)
                and (not self.checkpoint or any(
                    str(one['digest']).startswith(self.checkpoint) for one in meta.checkpoints))
                and (not self.takeovers or bool(meta.interventions))
                and self.min_takeover <= meta.takeover_share <= self.max_takeover)


def open_catalogue(store: str) -> Store:
    """Open a store that must be there: a folder or a bucket."""
    return open_store(store, create=False)


def select(store: Store, wanted: Filter) -> Iterator[tuple[str, EpisodeMeta | None]]:
    """Yield (store path, record) of the episodes meant, oldest first; None: it is damaged."""
    paths = [path for path in list_episodes(store, wanted.robot or None) if wanted.may(path)]
    for path in sorted(paths, key=lambda path: path.split('/')[2:]):
        try:
            meta = read_meta(store, path)
        except EpisodeError:
            if wanted.outcome == DAMAGED or not wanted.looks_inside:
                yield path, None
            continue
        if wanted.takes(meta):
            yield path, meta


def episode_rows(store: str, wanted: Filter | None = None) -> list[dict[str, Any]]:
    """Return one row per whole episode, oldest first; a damaged record says so in `outcome`."""
    opened = open_catalogue(store)
    return sorted((_row(path, meta) for path, meta in select(opened, wanted or Filter())),
                  key=lambda row: row['recorded'])


def find_episode(store: str, episode: str) -> tuple[Path, EpisodeMeta]:
    """Return the folder and record of the one episode whose id starts with `episode`.

    Of a bucket the folder is a copy on this machine.
    """
    opened = open_catalogue(store)
    path = _one(opened, store, episode)
    return opened.local(path), read_meta(opened, path)


def relabel(store: str, episode: str, outcome: str, who: str, scores: str = '',
            tasks_file: Path | None = None) -> EpisodeMeta:
    """Change an episode's label in the store; what was said before stays in its record.

    outcome: '' leaves it. scores: `name=score, ...` of the task's sub-steps, '' leaves them.
    """
    opened = open_catalogue(store)
    path = _one(opened, store, episode)
    now = datetime.now(timezone.utc).isoformat(timespec='seconds')
    meta = read_meta(opened, path)
    given = parse_scores(scores, meta.task, stages_of(meta.task, tasks_file),
                         meta.substep_scores) if scores else None
    changed = meta.relabelled(outcome or meta.outcome, who, now, given)
    opened.put(f'{path}/{META}', changed.to_json())
    return changed


def _one(opened: Store, store: str, episode: str) -> str:
    found = [path for path in list_episodes(opened)
             if path.rsplit('/', 1)[1].startswith(episode)]
    if len(found) != 1:
        what = 'no episode starts' if not found else f'{len(found)} episodes start'
        raise ValueError(f"{what} with '{episode}' in {store}; see `lwd episodes list`")
    return found[0]


def _row(path: str, meta: EpisodeMeta | None) -> dict[str, Any]:
    _, robot, date, episode = path.split('/')
    if meta is None:
        return {'episode': episode, 'robot': robot, 'task': '?', 'outcome': DAMAGED,
                'seconds': '?', 'takeovers': 0, 'human': '?', 'checkpoint': '', 'recorded': date}
    newest = meta.checkpoints[-1]['digest'][:12] if meta.checkpoints else ''
    return {'episode': episode, 'robot': robot, 'task': meta.task, 'outcome': meta.outcome,
            'seconds': f'{(meta.ended_ns - meta.started_ns) / 1e9:.1f}',
            'takeovers': len(meta.interventions), 'human': f'{meta.takeover_share:.0%}',
            'checkpoint': newest, 'recorded': meta.recorded_at}


def _check_day(option: str, day: str) -> None:
    try:
        if datetime.strptime(day, '%Y-%m-%d').strftime('%Y-%m-%d') == day:
            return
    except ValueError:
        pass
    raise ValueError(f'{option}: {day!r} is no date, give YYYY-MM-DD')

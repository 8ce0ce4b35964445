# SPDX-License-Identifier: Apache-2.0
"""Read the store's episode records for people: lists and details."""

from pathlib import Path
from typing import Any

from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.meta import EpisodeMeta, list_episodes, META, read_meta
from lwd_core.store import FolderStore


def episode_rows(store: str) -> list[dict[str, Any]]:
    """Return one row per whole episode, oldest first; a damaged record says so in `outcome`."""
    opened = FolderStore(store, create=False)
    rows = [_row(opened, path) for path in list_episodes(opened)]
    return sorted(rows, key=lambda row: row['recorded'])


def find_episode(store: str, episode: str) -> tuple[Path, EpisodeMeta]:
    """Return the folder and record of the one episode whose id starts with `episode`."""
    opened = FolderStore(store, create=False)
    found = [path for path in list_episodes(opened)
             if path.rsplit('/', 1)[1].startswith(episode)]
    if len(found) != 1:
        what = 'no episode starts' if not found else f'{len(found)} episodes start'
        raise ValueError(f"{what} with '{episode}' in {store}; see `lwd episodes list`")
    return opened.local(found[0]), read_meta(opened, found[0])


def relabel(store: str, episode: str, outcome: str, who: str) -> EpisodeMeta:
    """Change an episode's outcome; the old one is kept in its detail."""
    from dataclasses import replace
    folder, meta = find_episode(store, episode)
    history = f'was {meta.outcome} by {meta.labelled_by or "nobody"}'
    detail = f'{meta.detail}; {history}' if meta.detail else history
    changed = replace(meta, outcome=outcome, labelled_by=who, detail=detail)
    EpisodeMeta.from_json(changed.to_json(), str(folder / META))  # refuses an unknown outcome
    changed.write(folder)
    return changed


def _row(opened: FolderStore, path: str) -> dict[str, Any]:
    _, robot, date, episode = path.split('/')
    try:
        meta = read_meta(opened, path)
    except EpisodeError:
        return {'episode': episode, 'robot': robot, 'task': '?', 'outcome': 'damaged',
                'seconds': '?', 'takeovers': 0, 'checkpoint': '', 'recorded': date}
    newest = meta.checkpoints[-1]['digest'][:12] if meta.checkpoints else ''
    return {'episode': episode, 'robot': robot, 'task': meta.task, 'outcome': meta.outcome,
            'seconds': f'{(meta.ended_ns - meta.started_ns) / 1e9:.1f}',
            'takeovers': len(meta.interventions), 'checkpoint': newest,
            'recorded': meta.recorded_at}

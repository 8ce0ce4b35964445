# SPDX-License-Identifier: Apache-2.0
"""Follow the store: which episodes are there, what is known of them."""

from pathlib import Path

from lwd_core.episode.meta import EpisodeMeta, list_episodes, read_meta
from lwd_core.store import FolderStore


class StoreWatch:
    """Episodes by store path; `refresh` reads only the records that are new."""

    def __init__(self, store: Path) -> None:
        self.store = FolderStore(store)
        self.metas: dict[str, EpisodeMeta] = {}

    def refresh(self) -> list[EpisodeMeta]:
        """Look again; return the episodes that came since, in the order they were recorded."""
        new = [path for path in list_episodes(self.store) if path not in self.metas]
        for path in new:
            self.metas[path] = read_meta(self.store, path)
        return sorted((self.metas[path] for path in new), key=recorded)

    def successes(self) -> int:
        """Count the successful episodes."""
        return sum(meta.outcome == 'success' for meta in self.metas.values())

    def by_mode(self, start_mode: str) -> list[EpisodeMeta]:
        """Return the episodes that began with 'human' or 'policy', in the order recorded."""
        chosen = [meta for meta in self.metas.values() if meta.start_mode == start_mode]
        return sorted(chosen, key=recorded)


def recorded(meta: EpisodeMeta) -> str:
    """Return what orders episodes: wall time is the robots' only common clock."""
    return meta.recorded_at

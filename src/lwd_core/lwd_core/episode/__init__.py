# SPDX-License-Identifier: Apache-2.0
"""Episodes: the bag schema, its writer and reader, and the one function that ingests a bag."""

from lwd_core.episode.data import EpisodeData, read_episode
from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.meta import EpisodeMeta, list_episodes, read_meta
from lwd_core.episode.reader import EpisodeBagReader

__all__ = [
    'EpisodeBagReader', 'EpisodeData', 'EpisodeError', 'EpisodeMeta', 'list_episodes',
    'read_episode', 'read_meta',
]

# SPDX-License-Identifier: Apache-2.0
"""From an episode's folder to its cached arrays: one step, the same in every process.

Nothing here touches the index: the arrays are written first, and whoever owns the index writes the
row last, so that a process that is killed in between has done nothing but warm a cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import logging
from pathlib import Path
from typing import Any

from lwd_core.episode import EpisodeError, read_episode
from lwd_core.episode.audit import QUARANTINE
from lwd_core.flow.inputs import FeatureTrunk
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_core.store import StoreError
from lwd_learner.config import ReplayConfig
from lwd_learner.convert import check, convert, RejectedEpisode
from lwd_learner.episodes import EpisodeArrays, EpisodeArraysError

LOGGER = logging.getLogger(__name__)
EXPECTED = (EpisodeError, EpisodeArraysError, RejectedEpisode, StoreError, OSError)
# (folder, robot, observation, task names) -> EpisodeData
Reader = Callable[[Path, RobotSpec, ObservationSpec, tuple[str, ...]], Any]


@dataclass(frozen=True)
class IngestSettings:
    """What every episode is read with."""

    robot: RobotSpec
    tasks: tuple[str, ...]
    observation: ObservationSpec
    instruction_dim: int = 64
    replay: ReplayConfig = ReplayConfig()
    trunk: FeatureTrunk | None = None  # pixels: frozen features, once a frame


@dataclass(frozen=True)
class Job:
    """One episode to convert."""

    path: str  # in the store
    folder: str  # on this machine
    digest: str  # sha256 of episode.json
    online_since: int | None = None


@dataclass(frozen=True)
class Converted:
    """What became of a job. Refused: `reason` says why, `cause` is EpisodeError's reason."""

    path: str
    id: str = ''
    refused: bool = False
    reason: str = ''  # also the warnings of one that is used
    cause: str = ''
    bag: str = ''
    task: str = ''
    origin: str = ''
    ticks: int = 0
    success: bool = False


def convert_job(job: Job, settings: IngestSettings,
                reader: Reader = read_episode) -> tuple[Converted, EpisodeArrays | None]:
    """Read, audit and convert one episode; a bad one is refused, never raised.

    Raises OSError where the disk or the network failed, not the bag.
    """
    name = job.path.rsplit('/', 1)[-1]
    try:
        data = reader(Path(job.folder), settings.robot, settings.observation, settings.tasks)
        audit = data.audit
        if audit.verdict == QUARANTINE:
            raise RejectedEpisode(f'quarantined: {"; ".join(audit.warnings)}')
        arrays = convert(data, job.digest, settings.replay, settings.instruction_dim,
                         settings.trunk, job.online_since)
        warnings = (*check(arrays, settings.replay.min_ticks), *audit.warnings)
    except Exception as error:  # one bad bag must not stop the others, whatever is wrong
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        return refusal(job.path, name, error), None
    return Converted(
        job.path, arrays.episode_id, reason='; '.join(warnings),
        bag=str(data.meta.bag.get('sha256', '')), task=arrays.task, origin=arrays.origin,
        ticks=len(arrays), success=arrays.success), arrays


def refusal(path: str, name: str, error: Exception) -> Converted:
    """Return the refusal of an episode for an error; an unexpected one is logged in full."""
    reason = str(error) or type(error).__name__
    if not isinstance(error, EXPECTED):
        LOGGER.exception('episode %s: unexpected', name)
        reason = f'{type(error).__name__}: {reason}'
    return Converted(path, name, True, reason, getattr(error, 'reason', ''))

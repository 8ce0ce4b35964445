# SPDX-License-Identifier: Apache-2.0
"""Training without ROS: a store in, a checkpoint out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
import logging
from pathlib import Path
from typing import Any

from lwd_core.checkpoint import CheckpointRef
from lwd_core.flow.trunk import KeypointTrunk
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_core.store import Store
from lwd_core.task import TaskSpec
from lwd_learner.budget import progress_bar, Report
from lwd_learner.build import demonstrations, fill_buffer, fresh_policy, make_agent
from lwd_learner.config import ImitationConfig, LearnerConfig
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.imitation import fit_imitation, REPORT_EVERY
from lwd_learner.ingest import Ingest, IngestSettings
from lwd_learner.online import OnlineLearner
from lwd_learner.publish import load_policy, Publisher
from lwd_learner.replay import ReplayError

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workspace:
    """Everything a training run is about, but for the data in the store."""

    store: Store
    work_dir: Path
    robot: RobotSpec
    tasks: dict[str, TaskSpec]
    observation: str = 'state'  # or 'pixels', which needs `trunk`
    config: LearnerConfig = LearnerConfig()
    trunk: KeypointTrunk | None = None
    seed: int = 0
    show_progress: bool = False
    report: Report | None = None  # told instead of the bar

    def open_ingest(self) -> Ingest:
        """Open the work folder; one process at a time."""
        return Ingest(self.store, self.work_dir, self.ingest_settings())

    def ingest_settings(self) -> IngestSettings:
        """Return what every episode is read with."""
        return IngestSettings(
            self.robot, tuple(self.tasks), ObservationSpec.for_robot(self.robot, self.observation),
            self.config.instruction_dim, self.config.replay, self.trunk)

    def load_episodes(self) -> list[EpisodeArrays]:
        """Ingest what is new and return every usable episode of the store."""
        ingest = self.open_ingest()
        try:
            ingest.reconsider()
            episodes = [*ingest.restore(), *ingest.poll()]
            if ingest.rejected:
                LOGGER.warning('%d episodes were rejected', ingest.rejected)
            if not episodes:
                reasons = '; '.join(row.reason for row in ingest.index.rejected()[:3])
                raise ReplayError(f'no usable episode in {self.store}'
                                  + (f': {reasons}' if reasons else ': record one first'))
            return episodes
        finally:
            ingest.close()


Choose = Callable[[Iterable[EpisodeArrays]], list[EpisodeArrays]]


def train_sft(
    workspace: Workspace, channel: str = 'stable', choose: Choose = demonstrations,
    **budget: Any,
) -> CheckpointRef:
    """Clone the demonstrations of the store and publish the SFT policy.

    `budget` replaces keys of `config.sft` (steps, seconds, batch). Raises ReplayError when there
    is no demonstration, Diverged when training fails.
    """
    config = workspace.config.override(sft=budget)
    episodes = workspace.load_episodes()
    chosen = choose(episodes)
    if not chosen:
        raise ReplayError(f'no successful demonstration among {len(episodes)} episodes: '
                          'demonstrate a task, or label a demonstration a success')
    policy = fresh_policy(config, chosen, workspace.seed)
    return _clone(workspace, policy, chosen, 'successes', config.sft, 'sft', channel)


def train_dagger(
    workspace: Workspace, initial: CheckpointRef | str | None = None, channel: str = '',
    **budget: Any,
) -> CheckpointRef:
    """HG-DAgger: clone demonstrations, successes and corrections of every bag in the store.

    It goes on from the checkpoint `initial` (its normalisation too), or starts afresh.
    """
    config = workspace.config.override(dagger=budget)
    episodes = workspace.load_episodes()
    if initial is None:
        policy = fresh_policy(
            config, demonstrations(episodes) or episodes, workspace.seed)
    else:
        policy, _ = load_policy(workspace.store, initial, workspace.robot)
    selection = 'successes_and_corrections'
    return _clone(workspace, policy, episodes, selection, config.dagger, 'dagger', channel)


def train_offline(
    workspace: Workspace, initial: CheckpointRef | str, channel: str = '', steps: int = 1000,
    seconds: float = 0.0,
) -> CheckpointRef:
    """Run the offline phase on every episode of the store, from the checkpoint `initial`.

    The state with the critic is left in `<work_dir>/offline/`. Raises Diverged.
    """
    config = workspace.config.override(
        learning={'offline_steps': steps, 'offline_seconds': seconds})
    policy, contents = load_policy(workspace.store, initial, workspace.robot)
    publisher = Publisher(
        workspace.store, workspace.robot, channel, parent=contents.manifest['digest'],
        trunk=workspace.trunk)
    learner = OnlineLearner(
        make_agent(config, policy, workspace.seed), config, publisher,
        workspace.work_dir / 'offline', workspace.seed)
    for one in workspace.load_episodes():
        learner.add(one.with_origin('offline'))
    with progress_bar('offline', workspace.show_progress) as bar:
        report = workspace.report or bar
        while learner.step() is not None:
            if report is not None and learner.step_count % REPORT_EVERY == 0:
                report(learner.offline_fraction, f'step {learner.step_count}')
    ref = learner.publish()
    if ref is None:
        raise ReplayError(f'the offline phase ended without an update: {learner.reason}')
    learner.save()
    return ref


def _clone(
    workspace: Workspace, policy: Any, episodes: list[EpisodeArrays], selection: str,
    settings: ImitationConfig, kind: str, channel: str,
) -> CheckpointRef:
    buffer = fill_buffer(workspace.config, episodes, selection)
    agent = make_agent(workspace.config, policy, workspace.seed, {'algorithm': 'bc'})
    with progress_bar(kind, workspace.show_progress) as bar:
        metrics = fit_imitation(agent, buffer, settings, workspace.seed, workspace.report or bar)
    publisher = Publisher(workspace.store, workspace.robot, channel, trunk=workspace.trunk)
    summary = {**metrics, 'episodes': len(episodes), 'transitions': sum(buffer.transitions)}
    return publisher.publish(agent.acting_policy(), 0, summary, kind)

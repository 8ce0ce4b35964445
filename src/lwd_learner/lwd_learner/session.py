# SPDX-License-Identifier: Apache-2.0
"""One learner at work in one store, from start to clean end; the node runs it in its thread.

start: resume the saved state, else take the initial checkpoint, else (if asked to) clone the
demonstrations once there are enough, else wait. Then: poll the store, learn, publish, save.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import logging
import math
import os
import sqlite3
import time

from lwd_core.checkpoint import CheckpointRef, load_checkpoint, read_channel
from lwd_core.flow import make_policy
from lwd_learner.budget import Diverged
from lwd_learner.build import demonstrations, fill_buffer, fresh_policy, make_agent
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.imitation import fit_imitation
from lwd_learner.online import OnlineLearner, STATE_FILE, WAITING
from lwd_learner.publish import load_policy, Publisher
from lwd_learner.state_io import load_state
from lwd_learner.status import Status
from lwd_learner.trainer import Workspace

LOGGER = logging.getLogger(__name__)
STATUS_SECONDS = 1.0
RECONSIDER_SECONDS = 30.0  # between looks at refused episodes, which may have been labelled since
CLONING = 'cloning'
LEARNED = ('_offline', '_online')  # how the kinds of checkpoints end that a learner published


@dataclass(frozen=True)
class SessionSettings:
    """How a session starts and polls."""

    initial: str = ''  # checkpoint digest or uri; '': what the channel means
    bootstrap: int = 0  # demonstrations to clone from when there is no checkpoint; 0: wait for one
    poll_seconds: float = 1.0
    ingest_batch: int = 8  # episodes taken in between two updates at most


class LearnerSession:
    """Call `turn` again and again, then `close`; read `status` and `announced` from any thread."""

    def __init__(
        self, workspace: Workspace, settings: SessionSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the work folder and take in what it remembers."""
        self.workspace = workspace
        self.settings = settings
        self.ingest = workspace.open_ingest()
        self.ingest.go_online(time.time_ns())  # what was recorded before is offline data
        self.learner: OnlineLearner | None = None
        self.announced: CheckpointRef | None = None  # newest checkpoint robots should have
        self._clock = clock
        self._waiting: list[EpisodeArrays] = list(self.ingest.restore())
        self._polled_at = self._told_at = self._reconsidered_at = -math.inf
        self.status = self._idle_status('starts')

    @property
    def rejected(self) -> int:
        """Count the episodes that were refused."""
        return self.ingest.rejected

    def turn(self) -> bool:
        """Do one slice of work; False when there was nothing to do and the caller may sleep."""
        self._poll()
        if self.learner is None and not self._start():
            return False
        assert self.learner is not None
        try:
            learned = self.learner.step() is not None
        except Diverged:
            learned = False  # the phase is FAULT now and says why; episodes are still taken in
        if (ref := self.learner.publish_if_due()) is not None:
            self.announced = ref
            LOGGER.info('published %s at step %d', ref.digest[:12], ref.step)
        self.learner.save_if_due()
        self._tell(self.learner)
        return learned

    def close(self) -> None:
        """Publish what was learned since the last checkpoint, save the state, leave the folder."""
        try:
            if self.learner is not None:
                self.announced = self.learner.publish() or self.announced
                self.learner.save()
                self._tell(self.learner, now=True)
        finally:
            self.ingest.close()

    # -- parts

    def _poll(self) -> None:
        if self._clock() - self._polled_at < self.settings.poll_seconds:
            return
        self._polled_at = self._clock()
        try:
            self._take_in()
        except (OSError, sqlite3.OperationalError) as error:
            # nothing was recorded of this episode: it is looked at again
            LOGGER.error('ingest: %s; tries again in %g s', error, self.settings.poll_seconds)

    def _take_in(self) -> None:
        if self._clock() - self._reconsidered_at >= RECONSIDER_SECONDS:
            self._reconsidered_at = self._clock()
            self.ingest.reconsider()
        for one in self.ingest.poll(self.settings.ingest_batch):
            LOGGER.info('episode %s: %s, %d ticks, %s', one.episode_id, one.task, len(one),
                        'success' if one.success else 'failure')
            if self.learner is None:
                self._waiting.append(one)
            else:
                self.learner.add(one)

    def _start(self) -> bool:
        """Find a policy to start from; False while there is none."""
        made = self._resumed() or self._from_checkpoint() or self._from_demonstrations()
        if made is None:
            return False
        for one in self._waiting:
            made.add(one)
        self._waiting = []
        self.learner = made
        self._tell(made, now=True)
        return True

    def _resumed(self) -> OnlineLearner | None:
        workspace, path = self.workspace, self.workspace.work_dir / STATE_FILE
        if not path.is_file():
            return None
        state = load_state(path)
        if self._superseded(state['root']):
            os.replace(path, path.with_suffix('.old'))
            return None
        self._require_horizon(int(state['policy']['horizon']))
        learner = self._learner(make_policy(state['policy'], state['normalization']), None)
        learner.resume()
        self.announced = read_channel(workspace.store, workspace.config.publish.channel)
        LOGGER.info('resumed at step %d', learner.step_count)
        return learner

    def _superseded(self, root: str) -> bool:
        """Say whether somebody put a new cloned policy into the channel since `root`."""
        store, channel = self.workspace.store, self.workspace.config.publish.channel
        ref = read_channel(store, channel)
        if ref is None or ref.digest == root:
            return False
        kind = load_checkpoint(store, ref).kind
        if kind.endswith(LEARNED):
            return False
        LOGGER.warning("channel '%s' now means %s (%s): starts over from it, the old state is "
                       'kept aside', channel, ref.digest[:12], kind)
        return True

    def _from_checkpoint(self) -> OnlineLearner | None:
        workspace = self.workspace
        channel = workspace.config.publish.channel
        ref = self.settings.initial or read_channel(workspace.store, channel)
        if ref is None:
            self.status = self._idle_status(
                f"no checkpoint in channel '{channel}' to start from: publish one there, or set "
                'bootstrap_demonstrations')
            return None
        policy, contents = load_policy(workspace.store, ref, workspace.robot)
        self._require_horizon(policy.horizon)
        if isinstance(ref, CheckpointRef):
            self.announced = ref
        LOGGER.info('starts from checkpoint %s (%s)', contents.manifest['digest'][:12],
                    contents.kind)
        return self._learner(policy, contents.manifest['digest'])

    def _from_demonstrations(self) -> OnlineLearner | None:
        wanted, demos = self.settings.bootstrap, demonstrations(self._waiting)
        if not wanted:
            return None
        if len(demos) < wanted:
            self.status = self._idle_status(f'waits for demonstrations: {len(demos)} of {wanted}')
            return None
        workspace = self.workspace
        self.status = replace(self._idle_status('clones the demonstrations'), phase=CLONING)
        policy = fresh_policy(workspace.config, demos, workspace.seed)
        agent = make_agent(workspace.config, policy, workspace.seed, {'algorithm': 'bc'})
        buffer = fill_buffer(workspace.config, demos, 'successes')
        metrics = fit_imitation(agent, buffer, workspace.config.sft, workspace.seed)
        publisher = Publisher(
            workspace.store, workspace.robot, workspace.config.publish.channel,
            trunk=workspace.trunk)
        self.announced = publisher.publish(agent.acting_policy(), 0, metrics, 'sft')
        return self._learner(agent.acting_policy(), self.announced.digest)

    def _require_horizon(self, horizon: int) -> None:
        if horizon != self.workspace.config.horizon:
            raise ValueError(
                f'the initial checkpoint has chunks of {horizon} steps, the configuration says '
                f'policy.horizon: {self.workspace.config.horizon}: use the file it was made with')

    def _learner(self, policy: object, parent: str | None) -> OnlineLearner:
        workspace = self.workspace
        settings = workspace.config.publish
        publisher = Publisher(
            workspace.store, workspace.robot, settings.channel, settings.keep, parent,
            workspace.trunk)
        agent = make_agent(workspace.config, policy, workspace.seed)
        return OnlineLearner(
            agent, workspace.config, publisher, workspace.work_dir, workspace.seed)

    def _tell(self, learner: OnlineLearner, now: bool = False) -> None:
        if now or self._clock() - self._told_at >= STATUS_SECONDS:
            self.status = learner.status()
            self._told_at = self._clock()

    def _idle_status(self, reason: str) -> Status:
        offline = sum(one.origin == 'offline' for one in self._waiting)
        return Status(
            WAITING, reason, 0, (offline, len(self._waiting) - offline), (0, 0), '', 0,
            math.nan, math.nan, math.nan)

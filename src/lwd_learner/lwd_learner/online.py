# SPDX-License-Identifier: Apache-2.0
"""The learner that never stops: offline phase, then online, publishing as it goes.

    WAITING --offline data and an offline budget--> OFFLINE --budget used--> WAITING or ONLINE
    WAITING --enough online episodes--> ONLINE
    any --Diverged--> FAULT: nothing is published any more

Not thread-safe: whoever calls `step` also calls `add`.
"""

from __future__ import annotations

from collections.abc import Callable
import logging
import math
from pathlib import Path
import time
from typing import Any

from lwd_core.checkpoint import CheckpointRef
from lwd_core.store import StoreError
from lwd_learner import learner_state
from lwd_learner.algorithms.agent import Agent
from lwd_learner.audit import findings
from lwd_learner.batches import Batches
from lwd_learner.budget import Budget, Diverged, Limits
from lwd_learner.config import LearnerConfig
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.memory import keep_freed
from lwd_learner.meter import Meter
from lwd_learner.metrics_log import MetricsLog
from lwd_learner.publish import Publisher
from lwd_learner.replay import imitation_rule, ReplayBuffer
from lwd_learner.sampler import AdaptiveSampler
from lwd_learner.state_io import load_state, save_state
from lwd_learner.status import compare_corrections, Status

LOGGER = logging.getLogger(__name__)
WAITING, OFFLINE, ONLINE, FAULT = 'waiting', 'offline', 'online', 'fault'
STATE_FILE = 'state.safetensors'
COMPARE_EVERY = 25  # steps; it costs about one update
RETRY_SECONDS = 10.0  # after a checkpoint that could not be written


class OnlineLearner:
    """Agent, replay, sampler and publisher as one resumable loop."""

    def __init__(
        self, agent: Agent, config: LearnerConfig, publisher: Publisher, work_dir: Path,
        seed: int = 0, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.agent = agent
        self.config = config
        self.publisher = publisher
        self.work_dir = work_dir
        self.step_count = 0
        self.phase = WAITING
        self.reason = 'no episode yet'
        self.checkpoint: CheckpointRef | None = None
        self.published = 0
        self.meter = Meter(clock)
        self.buffer = ReplayBuffer(
            config.horizon, config.replay.gamma,
            work_dir / 'replay' if config.replay.on_disk else None,
            imitation_rule(agent.config.imitation), config.replay.takeover)
        self.sampler = AdaptiveSampler(config.sampler, seed)
        self.batches = Batches(self.buffer, self.sampler, config, agent.config, seed)
        self._limits = Limits(config.learning.max_value_loss, config.learning.max_q)
        self.offline = Budget(
            max(config.learning.offline_steps, 1), config.learning.offline_seconds, clock)
        self.online_updates = 0
        self._online_since: float | None = None
        self._clock = clock
        self._published_at = self._saved_at = clock()
        self.published_step = 0
        self._retry_at = -math.inf
        self._corrections: dict[str, float] = {}
        self._compared_step = 1 - COMPARE_EVERY  # first after one step
        self.trouble = ''  # why the newest checkpoint or state is not on disk
        self.root = publisher.parent or ''  # the checkpoint learning began with
        self._log = MetricsLog(work_dir, config.learning.tensorboard)
        work_dir.mkdir(parents=True, exist_ok=True)
        keep_freed()

    # -- data

    def add(self, episode: EpisodeArrays) -> None:
        """Take one episode into replay."""
        self.buffer.add(episode)
        self.batches.compare()

    # -- learning

    def ready(self) -> bool:
        """Decide the phase; False when there is nothing to learn from right now."""
        if self.phase == FAULT:
            return False
        if self.buffer.transitions[0] and self._offline_left():
            self._enter(OFFLINE)
            return True
        wanted = self.config.learning.min_online_episodes
        if self.buffer.episodes[1] >= wanted:
            self._enter(ONLINE)
            return self._within_ratio()
        self.phase = WAITING
        self.reason = f'waits for online episodes: {self.buffer.episodes[1]} of {wanted}'
        return False

    @property
    def offline_fraction(self) -> float:
        """Return the used share of the offline budget, in [0, 1]."""
        return self.offline.fraction

    def step(self) -> dict[str, Any] | None:
        """Take one update if there is something to learn from; None otherwise."""
        if not self.ready():
            return None
        with self.meter.waiting():
            batch, imitation = self._draw()
        self._anneal()
        with self.meter.updating():
            metrics = self.agent.update(batch, imitation)
        losses = metrics.pop('sample_loss', None)
        self._check(metrics)
        if losses is not None:
            self.sampler.record(
                batch['task'].numpy(), batch['origin'].numpy(), losses.detach().numpy())
        self.step_count += 1
        self.offline.done += self.phase == OFFLINE
        self.online_updates += self.phase == ONLINE
        self.meter.add(metrics)
        if self.step_count % self.config.learning.metrics_every == 0:
            self._write_metrics()
        return metrics

    @property
    def online_seconds(self) -> float:
        """Return how long the online phase has lasted where the imitation rate falls with it."""
        return 0.0 if self._online_since is None else self._clock() - self._online_since

    @online_seconds.setter
    def online_seconds(self, seconds: float) -> None:
        self._online_since = self._clock() - seconds if seconds else None

    def _anneal(self) -> None:
        settings = self.config.learning
        if self.phase != ONLINE or not settings.anneal_seconds:
            return
        if self._online_since is None:
            self._online_since = self._clock()
        elapsed = self._clock() - self._online_since
        self.agent.anneal((elapsed - settings.anneal_after) / settings.anneal_seconds)

    def run(self, steps: int | None = None, seconds: float | None = None) -> int:
        """Step, publish and save until the budget is used or nothing is left to learn."""
        began, done = self._clock(), 0
        while (steps is None or done < steps) and (
                seconds is None or self._clock() - began < seconds):
            if self.step() is None:
                break
            done += 1
            self.publish_if_due()
        return done

    # -- publishing and resuming

    def publish_if_due(self) -> CheckpointRef | None:
        """Publish when enough steps and enough time have passed."""
        settings = self.config.publish
        due = (self.step_count - self.published_step >= settings.every_steps
               and self._clock() - self._published_at >= settings.every_seconds
               and self._clock() >= self._retry_at)
        return self.publish() if due else None

    def publish(self) -> CheckpointRef | None:
        """Publish the acting policy now; None after a fault, and when nothing was learned since."""
        if self.phase == FAULT or self.step_count == self.published_step:
            return None
        self._published_at = self._clock()
        try:
            ref = self.publisher.publish(
                self.agent.acting_policy(), self.step_count, self.meter.means(),
                self.kind)
        except Diverged as error:
            self._fault(error)
            return None
        except (OSError, StoreError) as error:  # a full disk must not end learning
            self.trouble = f'cannot publish step {self.step_count}: {error}'
            self._retry_at = self._clock() + RETRY_SECONDS
            LOGGER.error('%s; tries again in %g s', self.trouble, RETRY_SECONDS)
            return None
        self.checkpoint, self.trouble = ref, ''
        self.published += 1
        self.published_step = self.step_count
        return ref

    @property
    def kind(self) -> str:
        """Return what a checkpoint is called: the algorithm and its phase."""
        return f'{self.agent.config.algorithm}_{self.agent.phase}'

    def status(self) -> Status:
        """Return what the robots' people want to know."""
        buffer, means = self.buffer, self.meter.means()
        if self.step_count >= self._compared_step + COMPARE_EVERY:
            self._corrections = compare_corrections(self.agent, buffer)
            self._compared_step = self.step_count
        return Status(
            phase=self.phase, reason=self.reason or self.trouble, step=self.step_count,
            episodes=(buffer.episodes[0], buffer.episodes[1]),
            transitions=(buffer.transitions[0], buffer.transitions[1]),
            checkpoint=self.checkpoint.digest if self.checkpoint else '',
            checkpoints_published=self.published,
            updates_per_second=self.meter.rate(), data_wait_share=self.meter.wait_share(),
            replay_age=buffer.age_s(time.time_ns()), metrics={**means, **self._corrections})

    def save_if_due(self) -> None:
        """Save the resume state when it is time."""
        if self._clock() - self._saved_at < self.config.publish.save_state_seconds:
            return
        self._saved_at = self._clock()
        try:
            self.save()
        except OSError as error:
            self.trouble = f'cannot save the resume state: {error}'
            LOGGER.error('%s', self.trouble)

    def save(self) -> None:
        """Save everything a restart needs beside the episodes; not after a fault."""
        if self.phase == FAULT or self.step_count == 0:
            return
        save_state(self.work_dir / STATE_FILE, learner_state.saved(self))
        self._saved_at = self._clock()

    def resume(self) -> bool:
        """Continue from the saved state; False if there is none. The replay is filled apart."""
        path = self.work_dir / STATE_FILE
        if not path.exists():
            return False
        learner_state.restore(self, load_state(path), str(path))
        return True

    # -- parts

    def _enter(self, phase: str) -> None:
        if phase != self.phase:
            LOGGER.info('phase %s: %s', phase, self.buffer.episodes)
            for finding in findings(self.buffer):
                LOGGER.warning(finding)
        if phase != self.agent.phase:
            self.agent.begin(phase)
        self.phase, self.reason = phase, ''

    def _offline_left(self) -> bool:
        learning = self.config.learning
        if not learning.offline_steps:
            return False
        return self.offline.fraction < 1.0

    def _within_ratio(self) -> bool:
        ratio = self.config.learning.updates_per_transition
        if not ratio or self.online_updates < ratio * self.buffer.transitions[1]:
            return True
        self.reason = f'waits for data: {ratio:g} updates a transition are done'
        return False

    def _draw(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        return self.batches.draw(self.phase == ONLINE)

    def _check(self, metrics: dict[str, Any]) -> None:
        try:
            self._limits.check(self.step_count, metrics)
        except Diverged as error:
            self._fault(error)
            raise

    def _fault(self, error: Diverged) -> None:
        self.phase, self.reason = FAULT, str(error)
        LOGGER.error('learning stopped, nothing more is published: %s', error)

    def _write_metrics(self) -> None:
        buffer = self.buffer
        self._log.write(self.step_count, self.phase, {
            'updates_per_second': self.meter.rate(), 'data_wait_share': self.meter.wait_share(),
            'replay_age': buffer.age_s(time.time_ns()),
            'episodes_offline': buffer.episodes[0], 'episodes_online': buffer.episodes[1],
            'transitions_offline': buffer.transitions[0],
            'transitions_online': buffer.transitions[1],
            **self.meter.means(), **self._corrections})

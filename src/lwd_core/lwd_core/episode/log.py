# SPDX-License-Identifier: Apache-2.0
"""What the messages of an episode say about it: the same account live and after a crash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lwd_core import topics
from lwd_core.episode.meta import EpisodeMeta, OUTCOMES, START_MODES, STOP_REASONS
from lwd_core.episode.reader import stamp_ns
from lwd_core.episode.writer import BagFile

IDLE, READY, RUNNING, LABELLING = 0, 2, 3, 4  # lwd_msgs/EpisodeState.phase
_ENDED = 1  # lwd_msgs/Intervention.event


class EpisodeLog:
    """Accumulates EpisodeMeta from decoded messages, in the order they arrived."""

    # Only these topics are worth decoding while recording.
    TOPICS = (topics.EPISODE.name, topics.POLICY_CHUNK.name, topics.POLICY_STATUS.name,
              topics.INTERVENTION.name)

    def __init__(self, meta: EpisodeMeta) -> None:
        self.meta = meta
        self._chunks: list[tuple[int, str]] = []  # tick, checkpoint
        self.ran = False  # whether it got as far as RUNNING; its first tick may be at time 0
        self._steps: dict[str, int] = {}  # checkpoint digest -> learner step
        self._interventions: dict[int, dict[str, Any]] = {}
        self._handlers: dict[str, Callable[[Any], None]] = {
            topics.EPISODE.name: self._episode, topics.POLICY_CHUNK.name: self._chunk,
            topics.POLICY_STATUS.name: self._status, topics.INTERVENTION.name: self._intervention,
        }

    def add(self, topic: str, message: Any) -> None:
        """Take a decoded message of a topic (relative name); others are ignored."""
        if handler := self._handlers.get(topic):
            handler(message)

    def finished(self, bag: BagFile, detail: str = '', recovered: bool = False) -> EpisodeMeta:
        """Return the final account with the closed bag; `detail` is added to the episode's own."""
        details = '; '.join(filter(None, (self.meta.detail, detail)))
        counts = {tally.topic: tally.record() for tally in bag.topics.values()}
        return replace(
            self.meta, detail=details, recovered=recovered, topics=counts,
            checkpoints=self._checkpoints(),
            interventions=[self._interventions[key] for key in sorted(self._interventions)],
            bag=bag.record())

    def _episode(self, message: Any) -> None:
        if message.episode_id != self.meta.id:
            return
        final = message.phase == IDLE
        self.ran = self.ran or message.phase in (RUNNING, LABELLING)
        self.meta = replace(
            self.meta, task=message.task, instruction=message.instruction,
            start_mode=START_MODES.get(message.start_mode, self.meta.start_mode),
            outcome=OUTCOMES[message.outcome.value] if final else self.meta.outcome,
            stop_reason=STOP_REASONS[message.stop_reason], detail=message.detail,
            substep_scores=[float(score) for score in message.substep_scores],
            seed=int(message.seed) if message.seed >= 0 else None,
            time_limit=float(message.time_limit), labelled_by=message.labelled_by,
            started_ns=stamp_ns(message.started) or self.meta.started_ns,
            ended_ns=stamp_ns(message.ended) or self.meta.ended_ns)

    def _status(self, message: Any) -> None:
        if message.checkpoint:
            self._steps[message.checkpoint] = int(message.checkpoint_step)

    def _chunk(self, message: Any) -> None:
        if message.checkpoint and not message.shadow:
            self._chunks.append((stamp_ns(message.header.stamp), message.checkpoint))

    def _checkpoints(self) -> list[dict[str, Any]]:
        """Return who acted from when; the pre-roll may hold chunks of the episode before."""
        found: list[dict[str, Any]] = []
        for stamp, digest in self._chunks:
            inside = stamp >= self.meta.started_ns and stamp <= (self.meta.ended_ns or stamp)
            if inside and (not found or found[-1]['digest'] != digest):
                found.append({'digest': digest, 'step': self._steps.get(digest),
                              'since_ns': stamp})
        return found

    def _intervention(self, message: Any) -> None:
        if message.episode_id != self.meta.id:
            return
        stamp, ended = stamp_ns(message.header.stamp), message.event == _ENDED
        record = self._interventions.setdefault(int(message.id), {
            'id': int(message.id), 'start_ns': 0 if ended else stamp, 'end_ns': 0, 'end_tick': 0})
        record.update(
            operator=message.operator_name, source=message.source, reason=message.reason,
            start_tick=int(message.start_tick), checkpoint=message.checkpoint,
            overruled_chunk=int(message.overruled_chunk), end_reason=message.end_reason)
        if ended:
            record.update(end_ns=stamp, end_tick=int(message.end_tick))

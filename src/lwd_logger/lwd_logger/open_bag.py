# SPDX-License-Identifier: Apache-2.0
"""The bag of the episode that is being recorded."""

from __future__ import annotations

from dataclasses import replace

from lwd_core.episode.log import EpisodeLog
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.episode.writer import BagFile, EpisodeBagWriter, TopicTally
from lwd_logger.preroll import Received


class OpenBag:
    """A writer that stops writing for a reason and never raises for a full disk.

    `ended` says why nothing more is written, '' while it is; `damaged`, that the file system failed
    in between and what is on disk has to be recovered.
    """

    def __init__(self, writer: EpisodeBagWriter, log: EpisodeLog, prefix: str) -> None:
        self.writer = writer
        self.log = log
        self.ended = ''
        self.damaged = False
        self._prefix = prefix

    @property
    def id(self) -> str:
        """Return the episode's id."""
        return self.log.meta.id

    def tally(self, topic: str) -> TopicTally:
        """Return the count of a topic by its relative name."""
        return self.writer.topics[full_name(self._prefix, topic)]

    def write(self, message: Received) -> int:
        """Append a message; return how many seem missing before it, judged by the stamps."""
        if self.ended:
            return 0
        try:
            return self.writer.write(full_name(self._prefix, message.topic), message.data,
                                     message.log_ns, message.publish_ns, message.sequence)
        except OSError as error:
            self._fail(error)
            return 0

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        if not self.ended:
            try:
                self.writer.flush()
            except OSError as error:
                self._fail(error)

    def stop(self, reason: str) -> None:
        """Write nothing more; what is written becomes an ordinary bag without its end."""
        self.flush()
        self.ended = self.ended or reason

    def close(self, detail: str) -> EpisodeMeta:
        """Finish the bag and return its account; OSError if that fails."""
        if self.ended:  # an outcome belongs to the end, and that is missing
            self.log.meta = replace(self.log.meta, outcome='unlabelled')
        meta = self.log.meta
        detail = '; '.join(filter(None, (self.ended, detail)))
        bag: BagFile = self.writer.close({
            'episode_id': meta.id, 'robot': meta.robot, 'robot_digest': meta.robot_digest,
            'task': meta.task, 'instruction': meta.instruction, 'outcome': meta.outcome,
            'stop_reason': meta.stop_reason, 'clock': meta.clock,
            'recorded_at': meta.recorded_at})
        return self.log.finished(bag, detail)

    def _fail(self, error: OSError) -> None:
        self.writer.abort()
        self.damaged = True
        self.ended = (f'cannot write {self.writer.partial} after {self.writer.messages} messages: '
                      f'{error.strerror or error}')


def full_name(prefix: str, topic: str) -> str:
    """Return a topic's full name; `prefix` is the robot's namespace, '/<robot>/'."""
    return topic if topic.startswith('/') else prefix + topic

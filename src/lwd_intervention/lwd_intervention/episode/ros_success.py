# SPDX-License-Identifier: Apache-2.0
"""Ask a success detector, a std_srvs/Trigger service of the cell, while an episode runs."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any

from std_srvs.srv import Trigger

from lwd_intervention.episode.requests import Refused

ANSWER_TIMEOUT = 30.0  # s; a detector that is a large model takes its time


class SuccessDetector:
    """One question at a time, none while nothing runs; an answer counts for its episode only."""

    def __init__(self, node: Any, service: str, period: float,
                 wall: Callable[[], float] = time.monotonic) -> None:
        """Ask `service` every `period` [s of wall time] on behalf of `node`; '' asks nobody."""
        self._node, self._period, self._wall = node, period, wall
        self._client = node.create_client(Trigger, service) if service else None
        self._asked_at = 0.0
        self._future: Any = None

    def poll(self, episode_id: str) -> None:
        """Ask if it is time to; '' means that no episode runs."""
        if self._client is None or not episode_id:
            return
        if self._wall() < self._asked_at + self._period:
            return
        ready = self._client.service_is_ready()
        if self._waits() and not self._give_up(ready):
            return
        if not ready:
            self._warn('nobody answers; outcomes at the time limit are FAILURE')
            return
        self._asked_at = self._wall()
        self._future = self._client.call_async(Trigger.Request())
        self._future.add_done_callback(lambda done: self._on_answer(episode_id, done))

    def _waits(self) -> bool:
        return self._future is not None and not self._future.done()

    def _give_up(self, ready: bool) -> bool:
        """Wait no more for one that died amid a question; tell whether another may be asked."""
        if ready and self._wall() < self._asked_at + ANSWER_TIMEOUT:
            return False
        self._client.remove_pending_request(self._future)
        self._future = None
        self._warn('gave no answer; asked again')
        return True

    def _warn(self, text: str) -> None:
        self._node.get_logger().warning(f'success_service {self._client.srv_name}: {text}',
                                        throttle_duration_sec=10.0)

    def _on_answer(self, episode_id: str, future: Any) -> None:
        if (error := future.exception()) is not None:
            self._warn(f'{type(error).__name__}: {error}')
            return
        if not future.result().success:
            return
        try:
            self._node.success_seen(episode_id, future.result().message)
        except Refused:
            pass  # over meanwhile; the outcome it has stands

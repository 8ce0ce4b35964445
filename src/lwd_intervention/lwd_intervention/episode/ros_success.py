# SPDX-License-Identifier: Apache-2.0
"""Ask a success detector, a std_srvs/Trigger service of the cell, while an episode runs."""

from __future__ import annotations

import time
from typing import Any

from std_srvs.srv import Trigger

from lwd_intervention.episode.requests import Refused


class SuccessDetector:
    """One question at a time, none while nothing runs; an answer counts for its episode only."""

    def __init__(self, node: Any, service: str, period: float) -> None:
        """Ask `service` every `period` [s of wall time] on behalf of `node`; '' asks nobody."""
        self._node, self._period = node, period
        self._client = node.create_client(Trigger, service) if service else None
        self._asked_at = 0.0
        self._future: Any = None

    def poll(self, episode_id: str) -> None:
        """Ask if it is time to; '' means that no episode runs."""
        if self._client is None or not episode_id:
            return
        if time.monotonic() < self._asked_at + self._period:
            return
        if self._future is not None and not self._future.done():
            return
        if not self._client.service_is_ready():
            self._node.get_logger().warning(
                f'success_service {self._client.srv_name}: nobody answers; outcomes at the time '
                'limit are FAILURE', throttle_duration_sec=10.0)
            return
        self._asked_at = time.monotonic()
        self._future = self._client.call_async(Trigger.Request())
        self._future.add_done_callback(lambda done: self._on_answer(episode_id, done))

    def _on_answer(self, episode_id: str, future: Any) -> None:
        if future.exception() is not None or not future.result().success:
            return
        try:
            self._node.success_seen(episode_id, future.result().message)
        except Refused:
            pass  # over meanwhile; the outcome it has stands

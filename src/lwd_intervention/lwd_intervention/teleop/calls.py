# SPDX-License-Identifier: Apache-2.0
"""What the buttons ask of the episode node: start, label, discard."""

from __future__ import annotations

import time
from typing import Any

from lwd_intervention.teleop.effects import CallEpisode
from lwd_msgs.msg import EpisodeState, Outcome
from lwd_msgs.srv import DiscardEpisode, LabelEpisode, StartEpisode

OUTCOMES = {'success': Outcome.SUCCESS, 'failure': Outcome.FAILURE}


class EpisodeCalls:
    """The episode services of one robot; answers go to the node's log."""

    def __init__(self, node: Any, operator: str, task: str, time_limit: float) -> None:
        """`task`, `time_limit` [s]: of the episodes that the start button starts."""
        self._node, self._operator = node, operator
        self._task, self._time_limit = task, time_limit
        self._start = node.create_client(StartEpisode, 'episode/start')
        self._label = node.create_client(LabelEpisode, 'episode/label')
        self._discard = node.create_client(DiscardEpisode, 'episode/discard')

    @property
    def ready(self) -> bool:
        """Tell whether there is an episode node."""
        return bool(self._start.service_is_ready())

    def call(self, effect: CallEpisode, policy_starts: bool) -> None:
        """Carry out a button; `policy_starts`: who drives from the start."""
        name = self._operator
        if effect.what == 'start':
            mode = EpisodeState.MODE_POLICY if policy_starts else EpisodeState.MODE_HUMAN
            self._send(self._start, StartEpisode.Request(
                task=self._task, start_mode=mode, seed=time.time_ns() % 2**31,
                time_limit=self._time_limit), effect.what)
        elif effect.what == 'discard':
            self._send(self._discard, DiscardEpisode.Request(
                episode_id=effect.episode_id, operator_name=name, reason='button'), effect.what)
        else:
            self._send(self._label, LabelEpisode.Request(
                episode_id=effect.episode_id, outcome=Outcome(value=OUTCOMES[effect.what]),
                operator_name=name, detail='button'), effect.what)

    def _send(self, client: Any, request: Any, what: str) -> None:
        log = self._node.get_logger()
        if not client.service_is_ready():
            log.error(f'{what}: {client.srv_name} is not there: is the episode node running?')
            return

        def tell(done: Any) -> None:
            answer = done.result()
            if answer.accepted:
                log.info(f'{what} done: {answer.message}')
            else:
                log.warning(f'{what} refused: {answer.message}')
        client.call_async(request).add_done_callback(tell)

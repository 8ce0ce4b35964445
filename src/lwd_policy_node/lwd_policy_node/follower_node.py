# SPDX-License-Identifier: Apache-2.0
"""Hot reload as the node's log and services see it: who asks for checkpoints, when they swap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from lwd_policy_node.channel import ChannelPoller
from lwd_policy_node.checkpoints import Candidate, Installed
from lwd_policy_node.params import PolicyParams
from lwd_policy_node.supervisor import Supervisor
from lwd_policy_node.wire import Frame

Later = Callable[[Callable[[], None]], None]
PUT_OFF_LOG_S = 60.0


class CheckpointFollower:
    """Takes announcements, the store's channel and requests; runs on the executor."""

    def __init__(self, node: Node, supervisor: Supervisor, act_with: Callable[[Installed], None],
                 in_episode: Callable[[], bool], swap_in_episode: bool = False) -> None:
        """`act_with` is called when a checkpoint becomes active.

        `in_episode` says when it is not to, unless `swap_in_episode`: then with the next chunk.
        """
        self._log = node.get_logger()
        self._supervisor = supervisor
        self._act_with = act_with
        self._in_episode = in_episode
        self._swap_in_episode = swap_in_episode
        self._rolling_back = False
        self._channel = ''

    def start(self, params: PolicyParams, later: Later) -> Callable[[], None]:
        """Ask for the pinned checkpoint, or poll the channel; return what stops it."""
        self._channel = params.channel
        if params.pinned:
            self._want(Candidate(params.pinned, 0, forced=True))
        elif params.poll_period > 0:
            return ChannelPoller(
                params.store, params.channel, params.poll_period,
                lambda candidate: later(lambda: self._want(candidate)), self._log.warning).close
        return lambda: None

    def on_announcement(self, message: Any) -> None:
        """Take a CheckpointAnnouncement."""
        if message.channel == self._channel:
            self._want(Candidate(message.digest, message.step, message.uri))

    def on_load_request(self, request: Any, response: Any) -> Any:
        """Serve LoadCheckpoint: a digest from the store, or '' for the previous one."""
        digest = request.digest.strip().lower()
        if not digest:
            response.accepted, response.message = self._roll_back()
            return response
        refusal = self._supervisor.want(Candidate(digest, 0, forced=True))
        response.accepted = not refusal
        when = 'when this episode ends' if self._in_episode() else 'as soon as it is warm'
        response.message = refusal or f'acts {when}; watch policy/status'
        return response

    def on_rollback_request(self, request: Any, response: Any) -> Any:
        """Serve policy/rollback: the previous checkpoint acts with the next chunk."""
        response.success, response.message = self._roll_back()
        return response

    def _roll_back(self) -> tuple[bool, str]:
        table = self._supervisor.checkpoints
        before = table.active
        refusal = table.rollback()
        if refusal or before is None or table.pending is None:
            return False, refusal or 'nothing acts yet'
        self._rolling_back = True
        self._log.warning(f'checkpoint {before.digest[:12]} is rolled back by an operator; '
                          'it is not loaded again')
        if self.swap_if_idle():
            return True, f'{table.active.digest[:12]} acts now' if table.active else ''
        return True, (f'{table.pending.digest[:12]} observes otherwise than '
                      f'{before.digest[:12]}: it acts when this episode ends')

    def on_reply(self, frame: Frame) -> None:
        """Take a worker's reply other than chunks, and say what it means."""
        self._supervisor.on_reply(frame)
        fields = frame.fields
        if frame.kind == 'died':
            self._log.error(f'{fields["reason"]}; starting it again')
        elif frame.kind == 'refused':
            what = f'checkpoint {fields["digest"][:12]}'
            if fields.get('away'):
                self._log.warning(f'{what} put off: {fields["reason"]}',
                                  throttle_duration_sec=PUT_OFF_LOG_S)
            else:
                self._log.error(f'{what} refused: {fields["reason"]}')
        elif frame.kind == 'loaded':
            loaded = Installed.from_fields(fields)
            (self._log.warning if loaded.stands_in else self._log.info)(
                f'checkpoint {loaded.digest[:12]} (step {loaded.step}) verified and warm in '
                f'{loaded.warm_s:.2f} s, computed by {loaded.backend} ({loaded.note})')
        self.swap_if_idle()

    def swap_if_idle(self) -> bool:
        """Let a pending checkpoint act; while an episode runs only if that was asked for."""
        table = self._supervisor.checkpoints
        if self._in_episode() and table.active is not None and not self._may_swap_in_episode():
            return False
        if not self._supervisor.swap() or table.active is None:
            return False
        self._rolling_back = False
        self._act_with(table.active)
        self._log.info(
            f'checkpoint {table.active.digest[:12]} (step {table.active.step}) acts now')
        return True

    def _may_swap_in_episode(self) -> bool:
        """Tell whether the pending one may take over amid an episode: it must observe the same."""
        table = self._supervisor.checkpoints
        active, pending = table.active, table.pending
        return (self._swap_in_episode or self._rolling_back) and bool(
            active and pending and active.observes == pending.observes)

    def _want(self, candidate: Candidate) -> None:
        if not self._supervisor.want(candidate):
            self._log.info(f'checkpoint {candidate.digest[:12]} wanted')

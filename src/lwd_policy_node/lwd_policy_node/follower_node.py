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


class CheckpointFollower:
    """Takes announcements, the store's channel and requests; runs on the executor."""

    def __init__(self, node: Node, supervisor: Supervisor, act_with: Callable[[Installed], None],
                 in_episode: Callable[[], bool]) -> None:
        """`act_with` is called when a checkpoint becomes active; `in_episode` says when not to."""
        self._log = node.get_logger()
        self._supervisor = supervisor
        self._act_with = act_with
        self._in_episode = in_episode
        self._channel = ''

    def start(self, params: PolicyParams, later: Later) -> Callable[[], None]:
        """Ask for the pinned checkpoint, or poll the channel; return what stops it."""
        self._channel = params.channel
        if params.checkpoint:
            self._want(Candidate(params.checkpoint, 0, forced=True))
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
        if digest:
            refusal = self._supervisor.want(Candidate(digest, 0, forced=True))
        else:
            refusal = self._supervisor.checkpoints.rollback()
        response.accepted = not refusal
        when = 'when this episode ends' if self._in_episode() else 'as soon as it is warm'
        response.message = refusal or f'acts {when}; watch policy/status'
        self.swap_if_idle()
        return response

    def on_reply(self, frame: Frame) -> None:
        """Take a worker's reply other than chunks, and say what it means."""
        self._supervisor.on_reply(frame)
        fields = frame.fields
        if frame.kind == 'died':
            self._log.error(f'{fields["reason"]}; starting it again')
        elif frame.kind == 'refused':
            self._log.error(f'checkpoint {fields["digest"][:12]} refused: {fields["reason"]}')
        elif frame.kind == 'loaded':
            self._log.info(f'checkpoint {fields["digest"][:12]} (step {fields["step"]}) '
                           f'verified and warm in {fields["warm_s"]:.2f} s')
        self.swap_if_idle()

    def swap_if_idle(self) -> bool:
        """Let a pending checkpoint act; never while an episode runs, unless nothing acts yet."""
        table = self._supervisor.checkpoints
        if self._in_episode() and table.active is not None:
            return False
        if not self._supervisor.swap() or table.active is None:
            return False
        self._act_with(table.active)
        self._log.info(
            f'checkpoint {table.active.digest[:12]} (step {table.active.step}) acts now')
        return True

    def _want(self, candidate: Candidate) -> None:
        if not self._supervisor.want(candidate):
            self._log.info(f'checkpoint {candidate.digest[:12]} wanted')

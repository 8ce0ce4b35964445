# SPDX-License-Identifier: Apache-2.0
"""Keeps a worker alive and its checkpoints in order; without ROS.

starting -> up -> down (crash, stall) -> starting, after a pause that doubles with each loss in a
row. A worker that is not up is a FAULT in the status, never a dead node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import time

from lwd_core.robot import RobotSpec
from lwd_policy_node.checkpoints import Candidate, Checkpoints
from lwd_policy_node.inference import Inference
from lwd_policy_node.loading import LoadRequest
from lwd_policy_node.wire import Frame
from lwd_policy_node.worker import load_frame

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
RELOAD_PAUSE_S = 5.0  # between tries to load a checkpoint that the store was away for


class Supervisor:
    """The worker and what it holds. Not thread-safe: call from one thread."""

    def __init__(self, inference: Inference, template: LoadRequest, stall_timeout: float,
                 wall: Callable[[], float] = time.monotonic) -> None:
        """`template` says store, robot and flow steps of every load; `stall_timeout` [s]."""
        self.checkpoints = Checkpoints()
        self.reason = 'inference worker is starting'
        self.restarts = 0
        self._inference = inference
        self._template = template
        self._stall_timeout = stall_timeout
        self._wall = wall
        self._up = False
        self._held: set[str] = set()
        self._restart_at: float | None = None
        self._pause = FIRST_PAUSE_S
        self._reload_at = 0.0
        self._retry_at = 0.0

    def start(self) -> None:
        """Start the worker."""
        self._inference.start()

    @property
    def up(self) -> bool:
        """Tell whether the worker takes requests."""
        return self._up

    @property
    def usable(self) -> bool:
        """Tell whether the active checkpoint can act now."""
        active = self.checkpoints.active
        return self._up and active is not None and active.digest in self._held

    @property
    def robot(self) -> RobotSpec:
        """Return the robot that checkpoints must be made for."""
        return self._template.robot

    def want(self, candidate: Candidate) -> str:
        """Ask for a checkpoint; return '' or why it is not tried."""
        refusal = self.checkpoints.want(candidate)
        self._pump()
        return refusal

    def on_reply(self, frame: Frame) -> None:
        """Take a worker's reply other than chunks."""
        if frame.kind == 'ready':
            self._on_ready()
        elif frame.kind == 'died':
            self._on_died(frame.fields['reason'])
        elif frame.kind == 'loaded':
            self._held.add(frame.fields['digest'])
            self.checkpoints.loaded(frame.fields)
            self._pump()
        elif frame.kind == 'refused':
            table = self.checkpoints
            if frame.fields.get('away'):
                self._retry_at = self._wall() + RELOAD_PAUSE_S
                table.postpone(frame.fields['digest'], frame.fields['reason'])
            else:
                table.refuse(frame.fields['digest'], frame.fields['reason'])
            self._pump()

    def on_success(self) -> None:
        """A chunk was computed: the worker is healthy."""
        self._pause = FIRST_PAUSE_S

    def poll(self, waiting: float) -> None:
        """Act on time: end a worker that computes for `waiting` s, start one that is due."""
        if self._up and waiting > self._stall_timeout:
            self._up = False
            self.reason = (f'inference took {waiting:.1f} s, bound {self._stall_timeout:g} s: '
                           'worker is restarted')
            self._inference.kill()
        if self._restart_at is not None and self._wall() >= self._restart_at:
            self._restart_at = None
            self.restarts += 1
            self._inference.start()
        self._reload()
        self._retry()

    def swap(self) -> bool:
        """Let the pending checkpoint act, if there is one; call only between episodes."""
        swapped = self.checkpoints.swap()
        self._pump()
        return swapped

    def _on_ready(self) -> None:
        self._up = True
        self.reason = ''
        if self.restarts:
            self.checkpoints.restarted()
        self._pump()

    def _on_died(self, reason: str) -> None:
        # A stall already said why; the exit of the killed process says less.
        self.reason = self.reason or reason
        self._up = False
        self._held.clear()
        self._restart_at = self._wall() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)

    def _reload(self) -> None:
        """Try again to load the active checkpoint, if a fresh worker could not (store away)."""
        table = self.checkpoints
        if (self._up and table.active is not None and not self.usable
                and table.loading is None and self._wall() >= self._reload_at):
            self._reload_at = self._wall() + RELOAD_PAUSE_S
            table.reload_active()
            self._pump()

    def _retry(self) -> None:
        """Try again to load what the store was away for."""
        if self._up and self.checkpoints.put_off is not None and self._wall() >= self._retry_at:
            self.checkpoints.retry()
            self._pump()

    def _pump(self) -> None:
        """Send what the worker should do next."""
        if not self._up:
            return
        for digest in self.checkpoints.take_drops():
            self._held.discard(digest)
            self._inference.send(Frame('drop', {'digest': digest}))
        candidate = self.checkpoints.next_load()
        if candidate is not None:
            active = self.checkpoints.active
            again = active is not None and active.digest == candidate.digest
            self._inference.send(load_frame(replace(
                self._template, digest=candidate.digest, uri=candidate.uri,
                measured=active.measured if active is not None and again else '')))

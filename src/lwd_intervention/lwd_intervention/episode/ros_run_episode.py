# SPDX-License-Identifier: Apache-2.0
"""The run_episode action: one goal is one episode, from reset to label.

A small adapter over rclpy's action server. A goal is executed when its episode is over, so that
nothing waits meanwhile: rclpy polls a waiting coroutine without pause, a core's worth of work.
Cancelling stops the episode; its label may still follow.
"""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse

from lwd_core import topics
from lwd_core.ros_spin import steady_clock
from lwd_intervention.episode.machine import EpisodeMachine
from lwd_intervention.episode.requests import Refused
from lwd_intervention.episode.state import Phase, State, Stop
from lwd_msgs.action import RunEpisode

FEEDBACK_PERIOD = 0.2  # s, wall time


class RunEpisodeServer:
    """Turn goals into episodes and finished episodes into results."""

    def __init__(
        self, node: Any, machine: EpisodeMachine, lock: Any, start: Callable[[Any], str],
    ) -> None:
        """Serve on `node`; `start(goal)` begins an episode or raises Refused."""
        self._node, self._machine, self._lock, self._start = node, machine, lock, start
        self._goals: dict[str, Any] = {}  # episode id -> its goal
        self._refusals: dict[bytes, str] = {}  # goal id -> why not
        self._finished: dict[bytes, State] = {}  # goal id -> how its episode ended
        self._goal: Any = None
        self._server = ActionServer(
            node, RunEpisode, topics.RUN_EPISODE, self._execute,
            goal_callback=lambda _: GoalResponse.ACCEPT, cancel_callback=self._cancel,
            handle_accepted_callback=self._accepted)
        self._timer = node.create_timer(FEEDBACK_PERIOD, self._feedback, clock=steady_clock())

    def on_state(self, state: State) -> None:
        """Take a published state: IDLE completes the goal."""
        self._feedback()
        if state.phase is Phase.IDLE:
            self._finish(state)

    def destroy(self) -> None:
        """Release the server."""
        self._server.destroy()

    def _accepted(self, goal: Any) -> None:
        try:
            with self._lock:
                self._goals[self._start(goal.request)] = self._goal = goal
                if self._machine.state.phase is Phase.IDLE:
                    self._finish(self._machine.state)
        except Refused as error:
            self._refusals[bytes(goal.goal_id.uuid)] = str(error)
            goal.execute()

    def _finish(self, state: State) -> None:
        goal = self._goals.pop(state.id, None)
        if goal is not None:
            self._finished[bytes(goal.goal_id.uuid)] = state
            self._goal = None
            goal.execute()

    def _execute(self, goal: Any) -> RunEpisode.Result:
        key = bytes(goal.goal_id.uuid)
        if key in self._refusals:
            goal.abort()
            return RunEpisode.Result(message=self._refusals.pop(key))
        with self._lock:
            return self._result(goal, self._finished.pop(key))

    def _result(self, goal: Any, state: State) -> RunEpisode.Result:
        if goal.is_cancel_requested:
            goal.canceled()
        elif state.stop is Stop.FAULT:
            goal.abort()
        else:
            goal.succeed()
        result = RunEpisode.Result(
            episode_id=state.id, stop_reason=int(state.stop), message=state.detail,
            duration=max(0, state.ended_ns - state.started_ns) / 1e9,
            takeovers=self._machine.takeovers)
        result.outcome.value = int(state.outcome)
        return result

    def _cancel(self, _: Any) -> CancelResponse:
        try:
            self._node._do(lambda: self._machine.stop('cancelled', time.monotonic()))
        except Refused:
            pass  # stopped already; the result is on its way
        return CancelResponse.ACCEPT

    def _feedback(self) -> None:
        goal = self._goal
        if goal is not None and goal.is_active:
            goal.publish_feedback(RunEpisode.Feedback(
                phase=int(self._machine.state.phase), elapsed=self._node.elapsed()))

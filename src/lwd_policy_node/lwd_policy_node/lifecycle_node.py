# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node that says what went wrong in a transition and gives back what it made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import functools
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from lwd_core.ros_qos import publisher, subscription
from lwd_core.topics import TopicSpec

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def logged(transition: Transition) -> Transition:
    """Log what a transition raises: rclpy would swallow it."""
    @functools.wraps(transition)
    def run(self: Any, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except Exception as error:
            self.get_logger().error(f'{transition.__name__}: {type(error).__name__}: {error}')
            return TransitionCallbackReturn.FAILURE
    return run


class ManagedNode(LifecycleNode):
    """Entities made through it, and what `closers` holds, end with `close`."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.closers: list[Callable[[], None]] = []
        self._entities: list[tuple[Callable[[Any], Any], Any]] = []
        self._work: deque[Callable[[], None]] = deque()

    def publish_on(self, spec: TopicSpec) -> Any:
        """Return a publisher."""
        return self._keep(self.destroy_publisher, publisher(self, spec))

    def subscribe(self, spec: TopicSpec, callback: Callable[[Any], None], **kwargs: Any) -> Any:
        """Return a subscription."""
        return self._keep(self.destroy_subscription, subscription(self, spec, callback, **kwargs))

    def serve(self, kind: Any, name: str, callback: Callable[[Any, Any], Any]) -> Any:
        """Return a service."""
        return self._keep(self.destroy_service, self.create_service(kind, name, callback))

    def client_of(self, kind: Any, name: str) -> Any:
        """Return a client."""
        return self._keep(self.destroy_client, self.create_client(kind, name))

    def every(self, period: float, callback: Callable[[], None]) -> Any:
        """Return a timer on wall time [s]: housekeeping goes on while simulated time stands."""
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        return self._keep(self.destroy_timer, self.create_timer(period, callback, clock=steady))

    def later(self, work: Callable[[], None]) -> None:
        """Have `work` done by the next `do_work`; from any thread."""
        self._work.append(work)

    def do_work(self) -> None:
        """Do what `later` was given."""
        while self._work:
            self._work.popleft()()

    def close(self) -> None:
        """Run the closers, newest first, and destroy the entities; may be called twice."""
        while self.closers:
            self.closers.pop()()
        while self._entities:
            destroy, entity = self._entities.pop()
            destroy(entity)

    def destroy_node(self) -> None:
        """Close first."""
        self.close()
        super().destroy_node()

    def _keep(self, destroy: Callable[[Any], Any], entity: Any) -> Any:
        self._entities.append((destroy, entity))
        return entity

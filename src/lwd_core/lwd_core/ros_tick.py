# SPDX-License-Identifier: Apache-2.0
"""rclpy adapter of `clock.py`: where a node's control ticks come from.

On wall time a thread of its own sleeps to absolute deadlines: an executor's timer would queue
behind callbacks. On simulated time each clock message that reaches a period boundary is a tick, so
that a simulation in lockstep gets every tick answered, at whatever speed it runs.
"""

from __future__ import annotations

from collections.abc import Callable
import threading
import time
from typing import Any, Protocol

from rclpy.node import Node

from lwd_core import topics
from lwd_core.clock import NS_PER_S, Tick, Ticker
from lwd_core.priority import raise_process, raise_thread
from lwd_core.ros_qos import subscription
from lwd_core.waking import Waker

TickCallback = Callable[[Tick], None]


class TickSource(Protocol):
    """Call `callback(tick)` once per control period until stopped."""

    ticker: Ticker

    def stop(self) -> None:
        """Stop ticking; returns once no callback runs any more."""


class WallTickSource:
    """A daemon thread on the node's (system) clock; the callback runs in that thread."""

    def __init__(self, node: Node, period: int, callback: TickCallback,
                 raised: bool = False) -> None:
        """Start ticking at once; `raised`: with the best priority the kernel permits."""
        self.ticker = Ticker(period)
        self._clock = node.get_clock()
        self._log = node.get_logger()
        self._callback = callback
        self._raised = raised
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='control-tick', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop ticking and join the thread."""
        self._stopping = True
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        waker = Waker() if self._raised else None
        if self._raised:
            self._log.info(f'control tick: {raise_process()}, thread {raise_thread()}')
        while not self._stopping:
            now = self._clock.now().nanoseconds
            # To the absolute deadline: what the callback took is not added to the period.
            deadline = self.ticker.next_after(now)
            if waker is None:
                time.sleep((deadline - now) / NS_PER_S)
            else:
                waker.wait_until(deadline)
            tick = self.ticker.advance(self._clock.now().nanoseconds)
            if tick is not None and not self._stopping:
                self._fire(tick)

    def _fire(self, tick: Tick) -> None:
        try:
            self._callback(tick)
        except Exception as error:  # a dead tick thread would be a silent robot
            self._log.error(f'tick {tick.stamp_ns}: {type(error).__name__}: {error}')


class SimTickSource:
    """The clock topic; the callback runs in the node's executor."""

    def __init__(
        self, node: Node, period: int, callback: TickCallback, callback_group: Any = None,
    ) -> None:
        """Subscribe `/clock` (remap it to the robot's own clock)."""
        self.ticker = Ticker(period)
        self._node = node
        self._callback = callback
        self._subscription = subscription(
            node, topics.CLOCK, self._on_clock, callback_group=callback_group)

    def stop(self) -> None:
        """Stop ticking."""
        self._node.destroy_subscription(self._subscription)

    def _on_clock(self, message: Any) -> None:
        tick = self.ticker.advance(message.clock.sec * NS_PER_S + message.clock.nanosec)
        if tick is not None:
            self._callback(tick)


def uses_sim_time(node: Node) -> bool:
    """Tell whether the node runs on the clock topic."""
    return bool(node.get_parameter('use_sim_time').value)


def make_tick_source(
    node: Node, period: int, callback: TickCallback, callback_group: Any = None,
    raised: bool = False,
) -> TickSource:
    """Return the tick source for the node's time: the clock topic under use_sim_time, else wall.

    raised: on wall time, run with the best priority the kernel permits (`priority.py`).
    """
    if uses_sim_time(node):
        return SimTickSource(node, period, callback, callback_group)
    return WallTickSource(node, period, callback, raised)


def to_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time as nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def to_stamp(nanoseconds: int) -> Any:
    """Return nanoseconds as a builtin_interfaces/Time."""
    from builtin_interfaces.msg import Time
    return Time(sec=nanoseconds // NS_PER_S, nanosec=nanoseconds % NS_PER_S)

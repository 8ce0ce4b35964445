# SPDX-License-Identifier: Apache-2.0
"""Run one node until SIGINT or SIGTERM, with its last words still published."""

from __future__ import annotations

from collections.abc import Callable
import signal
import sys
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from lwd_core.params import ParamError
from lwd_core.priority import freeze_garbage
from lwd_core.spec import SpecError

try:
    from rclpy.experimental import EventsExecutor
except ImportError:  # moved or missing in other releases than Jazzy
    EventsExecutor = None

POLL = 0.2  # s; how soon a signal is noticed while nothing arrives


def make_executor(**kwargs: Any) -> Any:
    """Return the executor with the least work per message: half of the single-threaded one's.

    For a node alone in its process: publishing to a subscription of the same process from another
    thread deadlocks the events executor (its queue's lock against Python's).
    """
    return SingleThreadedExecutor(**kwargs) if EventsExecutor is None else EventsExecutor(**kwargs)


def run(make: Callable[[], Any], args: list[str] | None = None) -> None:
    """Spin the node that `make()` returns; exit 2 with one line on a bad parameter or file."""
    stop = [False]
    # rclpy's own handlers shut the context down before the node could hold the robot.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.__setitem__(0, True))
    executor = make_executor()
    try:
        node = make()
        executor.add_node(node)
        freeze_garbage()
        while not stop[0] and rclpy.ok():
            executor.spin_once(timeout_sec=POLL)
        node.destroy_node()
    except (ParamError, SpecError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    finally:
        executor.shutdown()
        rclpy.try_shutdown()


def steady_clock() -> Clock:
    """Return a clock that neither jumps nor stops with simulated time, for housekeeping timers."""
    return Clock(clock_type=ClockType.STEADY_TIME)

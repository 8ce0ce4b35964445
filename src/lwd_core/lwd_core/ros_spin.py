# SPDX-License-Identifier: Apache-2.0
"""Run a node: as a process until SIGINT or SIGTERM, or in a thread until told to stop.

Both end in the same order, which matters: spinning stops, then the node says its last words and is
destroyed, then the executor and the context go. Shutting an executor down under a thread that still
spins takes the guard conditions away that it waits with.
"""

from __future__ import annotations

from collections.abc import Callable
import signal
import sys
import threading
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from lwd_core.params import ParamError
from lwd_core.priority import freeze_garbage
from lwd_core.spec import SpecError

try:
    from rclpy.experimental import EventsExecutor
except ImportError:  # moved or missing in other releases than Jazzy
    EventsExecutor = None

POLL = 0.2  # s; how soon a signal is noticed while nothing arrives
EXPECTED = (ParamError, SpecError, OSError)  # say in one line what to do


def steady_clock() -> Clock:
    """Return a clock that neither jumps nor stops with simulated time, for housekeeping timers."""
    return Clock(clock_type=ClockType.STEADY_TIME)


def make_executor(**kwargs: Any) -> Any:
    """Return the executor with the least work per message: half of the single-threaded one's.

    For a node alone in its process: publishing to a subscription of the same process from another
    thread deadlocks the events executor (its queue's lock against Python's).
    """
    return SingleThreadedExecutor(**kwargs) if EventsExecutor is None else EventsExecutor(**kwargs)


def spin_once(node: Any, executor: Any) -> None:
    """Wait for one message, at most until a signal must be looked at."""
    executor.spin_once(timeout_sec=POLL)


def run(
    make: Callable[[], Any], args: list[str] | None = None, *,
    expected: tuple[type[Exception], ...] = EXPECTED,
    executor: Callable[[], Any] = SingleThreadedExecutor,
    turn: Callable[[Any, Any], None] = spin_once, done: Callable[[Any], bool] = lambda node: False,
) -> Any:
    """Spin the node that `make()` returns until SIGINT, SIGTERM or `done(node)`; return it.

    Exits with 2 and one line on stderr where an `expected` error stops it. turn: what is done over
    and over with node and executor. The node is destroyed in every case, so that it can hold.
    """
    stop = threading.Event()
    # rclpy's own handlers shut the context down before the node could say its last words.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    spinner, node = executor(), None
    try:
        node = make()
        spinner.add_node(node)
        freeze_garbage()
        while not stop.is_set() and rclpy.ok() and not done(node):
            turn(node, spinner)
    except expected as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except ExternalShutdownException:  # somebody else ended the context
        pass
    finally:
        if node is not None:
            node.destroy_node()
        spinner.shutdown()
        rclpy.try_shutdown()
    return node


class SpinThread:
    """Spin nodes in a thread of their own, beside a program that does something else."""

    def __init__(self, *nodes: Any, executor: Any = None, context: Any = None) -> None:
        """Start at once; `executor`: a SingleThreadedExecutor of `context` unless given."""
        self.executor = executor or SingleThreadedExecutor(context=context)
        for node in nodes:
            self.executor.add_node(node)
        self._stopping = Future()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name='spin', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop spinning, then shut the executor down; raise what a callback raised meanwhile."""
        if not self._stopping.done():
            self._stopping.set_result(None)
        self._thread.join()
        self.executor.shutdown()
        error, self._error = self._error, None
        if error is not None:
            raise error

    @property
    def alive(self) -> bool:
        """Tell whether it still spins: a callback that raised has ended it."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.executor.spin_until_future_complete(self._stopping)
        except ExternalShutdownException:  # the context went first
            pass
        except Exception as error:
            self._error = error

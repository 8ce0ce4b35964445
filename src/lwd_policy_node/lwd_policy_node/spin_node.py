# SPDX-License-Identifier: Apache-2.0
"""Run the policy node until SIGINT or SIGTERM; its worker never outlives it."""

from __future__ import annotations

from collections.abc import Callable
import signal
import sys
from typing import Any

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from lwd_core.params import ParamError
from lwd_core.ros_spin import make_executor, POLL
from lwd_core.spec import SpecError


def autostart(node: Any) -> bool:
    """Configure and activate; tell whether both worked."""
    good = TransitionCallbackReturn.SUCCESS
    return bool(node.trigger_configure() == good and node.trigger_activate() == good)


def run(make: Callable[[], Any], args: list[str] | None = None) -> None:
    """Spin the node that `make` returns; exit 2 with one line on a bad parameter or file."""
    stop = [False]
    # rclpy's own handlers shut the context down before the last status is published.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.__setitem__(0, True))
    executor = make_executor()
    node = None
    try:
        node = make()
        executor.add_node(node)
        if node.params.autostart and not autostart(node):
            sys.exit(2)  # configure said why
        while not stop[0] and rclpy.ok():
            executor.spin_once(timeout_sec=POLL)
    except (ParamError, SpecError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()

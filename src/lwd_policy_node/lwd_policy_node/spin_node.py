# SPDX-License-Identifier: Apache-2.0
"""Run the policy node until SIGINT or SIGTERM; its worker never outlives it."""

from __future__ import annotations

from collections.abc import Callable
import sys
from typing import Any

from rclpy.lifecycle import TransitionCallbackReturn

from lwd_core import ros_spin


def autostart(node: Any) -> bool:
    """Configure and activate; tell whether both worked."""
    good = TransitionCallbackReturn.SUCCESS
    return bool(node.trigger_configure() == good and node.trigger_activate() == good)


def run(make: Callable[[], Any], args: list[str] | None = None) -> None:
    """Spin the node that `make` returns; exit 2 with one line on a bad parameter or file."""
    def started() -> Any:
        node = make()
        if node.params.autostart and not autostart(node):
            node.destroy_node()
            sys.exit(2)  # configure said why
        return node
    ros_spin.run(started, args, executor=ros_spin.make_executor)

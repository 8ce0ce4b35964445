# SPDX-License-Identifier: Apache-2.0
"""A node with one timer that does nothing: python -m _rate.bare_timer OUT.npy RATE."""

from __future__ import annotations

import signal
import sys
import time

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions


def main(out: str, rate: float) -> None:
    """Note (wall time, lateness) [ns] of every call until SIGTERM."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, calls = Node('bare_timer'), []
    period = round(1e9 / rate)
    node.create_timer(1.0 / rate, lambda: calls.append((time.time_ns(), time.monotonic_ns())))
    created = time.monotonic_ns()
    signal.signal(signal.SIGTERM, lambda *_: rclpy.try_shutdown())
    try:
        rclpy.spin(node)
    except (ExternalShutdownException, rclpy.executors.ShutdownException):
        pass
    np.save(out, np.array(lateness(calls, created + period, period), np.int64).reshape(-1, 2))


def lateness(calls: list[tuple[int, int]], due: int, period: int) -> list[tuple[int, int]]:
    """Return how late each call was on the timer's grid, which skips periods that passed whole."""
    rows = []
    for wall, steady in calls:
        rows.append((wall, steady - due))
        due += period
        if due < steady:  # as rcl_timer_call does
            due += (1 + (steady - due) // period) * period
    return rows


if __name__ == '__main__':
    main(sys.argv[1], float(sys.argv[2]))

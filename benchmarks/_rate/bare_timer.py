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
    """Note the wall time [ns] of every call until SIGTERM."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, calls = Node('bare_timer'), []
    node.create_timer(1.0 / rate, lambda: calls.append(time.time_ns()))
    signal.signal(signal.SIGTERM, lambda *_: rclpy.try_shutdown())
    try:
        rclpy.spin(node)
    except (ExternalShutdownException, rclpy.executors.ShutdownException):
        pass
    np.save(out, np.array(calls, np.int64))


if __name__ == '__main__':
    main(sys.argv[1], float(sys.argv[2]))

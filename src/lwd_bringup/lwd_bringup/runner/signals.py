# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGHUP end a command as Ctrl-C does, so that it always cleans up."""

import signal
from types import FrameType


def raise_on_termination() -> None:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt in the main thread."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)

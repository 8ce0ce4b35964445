# SPDX-License-Identifier: Apache-2.0
"""One log stream of many processes: each line with its process's name, in its colour.

A thread of its own writes: a terminal that stands still (Ctrl-S, a stalled ssh) must not keep the
processes' pipes from being read. A node whose pipe is full stops in the middle of its log line with
the interpreter in its hands, its control tick too.
"""

from __future__ import annotations

from collections import deque
import sys
import threading
from typing import TextIO

_COLOURS = (36, 33, 35, 32, 34, 31, 96, 93, 95, 92, 94, 91)
KEPT_LINES = 2000  # that wait for the terminal; every line is in the process's log file as well
LAST_LINES_S = 1.0  # for the terminal to take what waits, at the end


class Console:
    """A sink for the runner; whole lines only, coloured on a terminal. Never blocks."""

    def __init__(self, stream: TextIO = sys.stderr, width: int = 16) -> None:
        self._stream, self._width = stream, width
        self._waiting = deque[tuple[str, str]]()
        self._changed = threading.Condition()
        self._writing = False
        self._lost = 0
        self._colours: dict[str, int] = {}
        self._writer: threading.Thread | None = None

    def __call__(self, name: str, line: str) -> None:
        """Print one line of a process, soon."""
        with self._changed:
            if len(self._waiting) >= KEPT_LINES:
                self._lost += 1
                return
            self._waiting.append((name, line))
            self._changed.notify_all()
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name='console', daemon=True)
                self._writer.start()

    def finish(self, timeout: float = LAST_LINES_S) -> None:
        """Wait until everything is printed, for `timeout` s at most."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._waiting or self._writing), timeout)

    def _write(self) -> None:
        gone = False
        while True:
            lines = self._take()
            if gone:
                continue
            try:
                for name, line in lines:
                    self._stream.write(self._labelled(name, line))
                self._stream.flush()
            except (OSError, ValueError):  # the terminal was closed; the log files go on
                gone = True

    def _take(self) -> list[tuple[str, str]]:
        """Return what waits, as soon as something does."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: bool(self._waiting))
            lines = list(self._waiting)
            if self._lost:
                lines.append(('lwd', f'{self._lost} lines are not shown, the terminal stood still; '
                                     'the logs have them'))
            self._waiting.clear()
            self._lost, self._writing = 0, True
            return lines

    def _labelled(self, name: str, line: str) -> str:
        label = f'{name:<{self._width}}'
        if self._stream.isatty():
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            label = f'\x1b[{colour}m{label}\x1b[0m'
        return f'{label} | {line}\n'

# SPDX-License-Identifier: Apache-2.0
"""One log stream of many processes: each line with its process's name, in its colour."""

import sys
import threading
from typing import TextIO

_COLOURS = (36, 33, 35, 32, 34, 31, 96, 93, 95, 92, 94, 91)


class Console:
    """A sink for the runner; whole lines only, coloured on a terminal."""

    def __init__(self, stream: TextIO = sys.stderr, width: int = 16) -> None:
        self._stream, self._width = stream, width
        self._lock = threading.Lock()
        self._colours: dict[str, int] = {}

    def __call__(self, name: str, line: str) -> None:
        """Print one line of a process."""
        label = f'{name:<{self._width}}'
        with self._lock:
            if self._stream.isatty():
                colour = self._colours.setdefault(name, _COLOURS[len(self._colours)
                                                                 % len(_COLOURS)])
                label = f'\x1b[{colour}m{label}\x1b[0m'
            self._stream.write(f'{label} | {line}\n')
            self._stream.flush()

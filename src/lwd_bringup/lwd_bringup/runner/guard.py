# SPDX-License-Identifier: Apache-2.0
"""
Sweep up after a runner that was killed.

PDEATHSIG reaches the processes that the runner started, not what those started (the inference
worker). This small process reads their group ids from a pipe; when the pipe closes without a
farewell, it kills the groups.
"""

import contextlib
import os
import signal
import subprocess
import sys


class Guard:
    """The runner's end of the pipe."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, '-I', '-S', __file__], stdin=subprocess.PIPE, start_new_session=True,
        )

    def watch(self, group: int) -> None:
        """Name a process group that must not outlive the runner."""
        self._write(f'+{group}\n')

    def forget(self, group: int) -> None:
        """Name a group that is gone: its number may be used again by others."""
        self._write(f'-{group}\n')

    def close(self) -> None:
        """End the guard; the groups have been stopped in the ordinary way."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        self._child.wait(timeout=5.0)

    def _write(self, line: str) -> None:
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(line.encode())
            self._child.stdin.flush()


def main() -> None:
    """Read group ids until the pipe closes, then kill those that are left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line[0] == '+' else groups.discard
        change(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == '__main__':
    main()

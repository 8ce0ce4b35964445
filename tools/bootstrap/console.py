# SPDX-License-Identifier: Apache-2.0
"""Run slow commands with a line of progress; keep their output in a log file."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
import selectors
import shutil
import subprocess
import sys
import time

HEARTBEAT = 30.0  # s between signs of life where the output is not a terminal


class CommandFailed(Exception):
    """A command ended with an error; output holds everything it printed."""

    def __init__(self, command: Sequence[str], code: int, output: str, log: Path) -> None:
        super().__init__(f'{Path(command[0]).name} ended with {code}, see {log}')
        self.output = output
        self.log = log


class Console:
    """Progress of numbered steps: a live line on a terminal, a line at each end elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._step = 0
        self._title = ''
        self._start = 0.0
        self._live = sys.stdout.isatty()
        self._beat = 0.0

    def begin(self, title: str) -> None:
        """Announce the next step."""
        self._step += 1
        self._title = f'[{self._step}/{self._total}] {title}'
        self._start = self._beat = time.monotonic()
        print(self._title, end='' if self._live else ' ...\n', flush=True)

    def detail(self, text: str) -> None:
        """Show what the step is doing."""
        now = time.monotonic()
        if self._live:
            width = shutil.get_terminal_size().columns
            line = f'{self._title}  {now - self._start:4.0f} s  {text}'[:width - 1]
            print(f'\r\033[K{line}', end='', flush=True)
        elif now - self._beat >= HEARTBEAT:
            self._beat = now
            print(f'      {now - self._start:4.0f} s  {text[:100]}', flush=True)

    def done(self, text: str = '') -> None:
        """Close the step with its time."""
        lead = f'\r\033[K{self._title}' if self._live else self._title
        print(f'{lead}: {time.monotonic() - self._start:.1f} s{"  " + text if text else ""}',
              flush=True)

    def run(
        self, command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path,
    ) -> str:
        """Run a command as part of the step and return its output; raises CommandFailed."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, env=dict(env), cwd=cwd) as process:
            try:
                output = self._follow(process)
            except BaseException:
                process.terminate()
                raise
        log.write_text(output)
        if process.returncode != 0:
            raise CommandFailed(command, process.returncode, output, log)
        return output

    def _follow(self, process: subprocess.Popen[bytes]) -> str:
        assert process.stdout is not None
        received = bytearray()
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if selector.select(timeout=1.0):
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    break
                received += data
            last = received[-400:].decode(errors='replace').strip().splitlines()
            self.detail(last[-1].strip() if last else '')
        process.wait()
        return received.decode(errors='replace')

# SPDX-License-Identifier: Apache-2.0
"""
One supervised process, as a table of states.

RUNNING -> EXITED (code 0) | BACKOFF (will restart) | FAILED (given up); BACKOFF -> RUNNING;
any -> STOPPED (we asked). `poll` is the only place that moves between them.
"""

from collections import deque
from collections.abc import Callable, Mapping
import contextlib
import ctypes
from dataclasses import dataclass, field
import enum
import os
from pathlib import Path
import signal
import subprocess
import threading
import time
from typing import IO

from lwd_bringup.graph.spec import Respawn
from lwd_bringup.runner.backoff import Backoff

TAIL_LINES = 60
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded here: nothing may be imported after a fork


class State(enum.Enum):
    """Where a process stands."""

    RUNNING = 'running'
    BACKOFF = 'restarting'
    EXITED = 'finished'
    FAILED = 'failed'
    STOPPED = 'stopped'


@dataclass(frozen=True)
class ProcessSpec:
    """What to run, where, and what to do when it dies."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)  # on top of ours
    cwd: str | None = None
    respawn: Respawn = Respawn()
    niceness: int = 0


@dataclass(frozen=True)
class Health:
    """What the live view shows of a process."""

    name: str
    state: State
    pid: int | None
    restarts: int
    exit_code: int | None
    uptime: float  # s


class Process:
    """Start one process, follow its output, restart it as its policy says."""

    def __init__(self, spec: ProcessSpec, log: Path, sink: Callable[[str, str], None],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.spec, self.log = spec, log
        self.state = State.STOPPED
        self.exit_code: int | None = None
        self.restarts = 0
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._sink, self._clock = sink, clock
        self._backoff = Backoff(spec.respawn)
        self._child: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started = self._due = 0.0

    def start(self) -> None:
        """Start it, from a thread that lives as long as the runner: PDEATHSIG is a thread's."""
        parent = os.getpid()
        self._child = subprocess.Popen(
            self.spec.command, env={**os.environ, **self.spec.env}, cwd=self.spec.cwd,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors='replace', start_new_session=True,
            preexec_fn=lambda: _prepare(parent, self.spec.niceness),
        )
        assert self._child.stdout is not None
        self._reader = threading.Thread(target=self._follow, args=(self._child.stdout,),
                                        name=f'log {self.spec.name}', daemon=True)
        self._reader.start()
        self.state, self._started = State.RUNNING, self._clock()

    def poll(self) -> State:
        """Notice a death, plan or do the restart; return the state."""
        now = self._clock()
        if self.state is State.BACKOFF and now >= self._due:
            self.restarts += 1
            self.start()
        elif self.state is State.RUNNING and self._child and self._child.poll() is not None:
            self._died(now)
        return self.state

    def signal(self, number: signal.Signals, group: bool = False) -> None:
        """Send a signal to the process, or with `group` to all it has started too."""
        if self._child is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group:
                os.killpg(self._child.pid, number)
            elif self._child.poll() is None:
                self._child.send_signal(number)

    def stopped(self) -> bool:
        """Return whether the process is gone after a request to stop; sweep what it left."""
        if self._child is not None and self._child.poll() is None:
            return False
        self.signal(signal.SIGKILL, group=True)
        if self.state in (State.RUNNING, State.BACKOFF):
            self.state = State.STOPPED
            self.exit_code = self._child.returncode if self._child else None
        if self._reader is not None:
            self._reader.join(timeout=1.0)
        return True

    def health(self) -> Health:
        """Return what to show."""
        alive = self.state is State.RUNNING and self._child is not None
        uptime = self._clock() - self._started if alive else 0.0
        return Health(self.spec.name, self.state, self.pid if alive else None, self.restarts,
                      self.exit_code, uptime)

    @property
    def pid(self) -> int | None:
        """Return the process id, which is its group's too; None before the first start."""
        return self._child.pid if self._child else None

    def _died(self, now: float) -> None:
        assert self._child is not None
        self.signal(signal.SIGKILL, group=True)  # workers it may have left behind
        self.exit_code = self._child.returncode
        if self.exit_code == 0:
            self.state = State.EXITED
            return
        delay = self._backoff.next_delay(now - self._started)
        if delay is None:
            self.state = State.FAILED
            self._sink(self.spec.name, f'died with {describe_exit(self.exit_code)}, given up')
            return
        self.state, self._due = State.BACKOFF, now + delay
        self._sink(self.spec.name,
                   f'died with {describe_exit(self.exit_code)}, restarts in {delay:.1f} s')

    def _follow(self, stream: IO[str]) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open('a', buffering=1) as log:
            for line in stream:
                log.write(line)
                self.tail.append(line.rstrip('\n'))
                self._sink(self.spec.name, line.rstrip('\n'))


def describe_exit(code: int | None) -> str:
    """Return 'exit code 3' or 'signal SIGSEGV'."""
    if code is not None and code < 0:
        return f'signal {signal.Signals(-code).name}'
    return f'exit code {code}'


def _prepare(parent: int, niceness: int) -> None:
    """Ask the kernel to kill this child when the runner dies, however it dies; step back."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died between fork and prctl
        os._exit(1)
    if niceness:
        os.nice(niceness)
        # Each process is a session of its own, and the scheduler shares the cores among sessions
        # first: between them only the session's own niceness counts.
        with contextlib.suppress(OSError):  # a kernel without autogroups
            group = os.open('/proc/self/autogroup', os.O_WRONLY)
            os.write(group, str(niceness).encode())
            os.close(group)

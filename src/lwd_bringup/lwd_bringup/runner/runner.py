# SPDX-License-Identifier: Apache-2.0
"""Supervise a set of processes: start, poll, stop. The caller owns the loop."""

from collections.abc import Callable, Iterable
from pathlib import Path
import signal
import time
from types import TracebackType

from lwd_bringup.runner.guard import Guard
from lwd_bringup.runner.process import Health, Process, ProcessSpec, State

# How long a process may take after each request to stop, s: a recorder closes its bag on SIGINT.
STOP_LADDER = ((signal.SIGINT, 8.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0))


class Runner:
    """
    Run processes together; as a context manager, it leaves none behind.

    `sink(name, line)` gets every line of every process, from reader threads.
    """

    def __init__(self, specs: Iterable[ProcessSpec], log_dir: Path,
                 sink: Callable[[str, str], None] = lambda name, line: None,
                 clock: Callable[[], float] = time.monotonic,
                 ladder: tuple[tuple[signal.Signals, float], ...] = STOP_LADDER) -> None:
        self.log_dir = log_dir
        self._ladder = ladder
        self._processes = [
            Process(spec, log_dir / f"{spec.name.replace('/', '.')}.log", sink, clock)
            for spec in specs
        ]
        self._guard: Guard | None = None
        self._watched: dict[str, int] = {}

    def start(self) -> None:
        """Start every process, in order; on a failure stop those already started."""
        self._guard = Guard()
        try:
            for process in self._processes:
                process.start()
                self._watch(process)
        except BaseException:
            self.stop()
            raise

    def poll(self) -> bool:
        """Look after all processes; return False once one has failed for good."""
        for process in self._processes:
            process.poll()
            self._watch(process)
        return not self.failed()

    def failed(self) -> list[Process]:
        """Return the processes that died and will not be restarted."""
        return [process for process in self._processes if process.state is State.FAILED]

    def running(self) -> bool:
        """Return whether any process runs or is about to."""
        return any(p.state in (State.RUNNING, State.BACKOFF) for p in self._processes)

    def health(self) -> tuple[Health, ...]:
        """Return the state of each process."""
        return tuple(process.health() for process in self._processes)

    def process(self, name: str) -> Process:
        """Return one process by name."""
        return next(process for process in self._processes if process.spec.name == name)

    def stop(self) -> None:
        """Stop everything: ask, insist, kill; children of children included."""
        for number, patience in self._ladder:
            alive = [process for process in self._processes if not process.stopped()]
            if not alive:
                break
            for process in alive:
                process.signal(number, group=number != signal.SIGINT)
            self._wait(alive, patience)
        if self._guard is not None:
            for group in self._watched.values():
                self._guard.forget(group)
            self._guard.close()
            self._guard = None

    def __enter__(self) -> 'Runner':
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()

    def _watch(self, process: Process) -> None:
        name, pid = process.spec.name, process.pid
        if self._guard is None or pid is None or self._watched.get(name) == pid:
            return
        if name in self._watched:
            self._guard.forget(self._watched[name])
        self._watched[name] = pid
        self._guard.watch(pid)

    @staticmethod
    def _wait(processes: list[Process], patience: float) -> None:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if all(process.stopped() for process in processes):
                return
            time.sleep(0.02)

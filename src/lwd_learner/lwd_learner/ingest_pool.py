# SPDX-License-Identifier: Apache-2.0
"""Several ingest workers at once; answers come in the order of the jobs.

A worker that dies (a bag cut under its mapping ends it with SIGBUS) costs its job one more try in
a fresh worker; a job that ends two of them is refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
import json
import os
from pathlib import Path
import queue
import subprocess
import sys
import threading
from typing import Any

from lwd_learner.conversion import Converted, IngestSettings, Job
from lwd_learner.ingest_worker import setup_message

TRIES = 2  # workers that one job may end
AHEAD = 4  # jobs per worker that may be done before their turn: bounds what is kept


class IngestPool:
    """A set of worker processes; a context manager that leaves none behind."""

    def __init__(self, workers: int, settings: IngestSettings, scratch: Path) -> None:
        """Start `workers` processes; `scratch` is a folder for the trunk's weights."""
        self._setup = json.dumps(setup_message(settings, scratch / 'trunk.safetensors'))
        self._size = workers
        self._todo: deque[tuple[int, Job, Path, int]] = deque()
        self._done: queue.SimpleQueue[tuple[int, Converted | OSError]] = queue.SimpleQueue()
        self._slots = threading.Semaphore(0)
        self._closing = False
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True)
                         for number in range(workers)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> IngestPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; jobs under way are lost, and done again another time."""
        self._closing = True
        self._todo.clear()
        for process in list(self._processes.values()):
            process.kill()
        for _ in self._threads:
            self._slots.release()
        for thread in self._threads:
            thread.join()

    def convert(self, jobs: Sequence[tuple[Job, Path]]) -> Iterator[Converted]:
        """Yield the answers of jobs (each with its cache file) in their order.

        Raises OSError where the disk or the network failed a job: it is to be tried later.
        """
        waiting: dict[int, Converted | OSError] = {}
        given = 0
        for wanted in range(len(jobs)):
            while given < min(len(jobs), wanted + AHEAD * self._size):
                job, cache = jobs[given]
                self._todo.append((given, job, cache, 1))
                self._slots.release()
                given += 1
            while wanted not in waiting:
                number, result = self._done.get()
                waiting[number] = result
            answer = waiting.pop(wanted)
            if isinstance(answer, OSError):
                raise answer
            yield answer

    def _run(self, number: int) -> None:
        """Feed one worker; start it again when it dies."""
        process: subprocess.Popen[str] | None = None
        while True:
            self._slots.acquire()
            try:
                index, job, cache, tries = self._todo.popleft()
            except IndexError:  # closing
                break
            if process is None or process.poll() is not None:
                process = self._processes[number] = self._start()
            reply = self._ask(process, job, cache)
            if reply is not None:
                self._done.put((index, _result(reply)))
            elif self._closing:
                break
            elif tries < TRIES:
                self._todo.appendleft((index, job, cache, tries + 1))
                self._slots.release()
            else:
                self._done.put((index, _ended(job, process.wait())))
        if process is not None:
            process.kill()
            process.communicate()

    def _start(self) -> subprocess.Popen[str]:
        paths = os.pathsep.join(path for path in sys.path if path)
        process = subprocess.Popen(
            [sys.executable, '-m', 'lwd_learner.ingest_worker'], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'})
        return process

    def _ask(self, process: subprocess.Popen[str], job: Job, cache: Path) -> dict[str, Any] | None:
        """Return the worker's answer, None if it died."""
        assert process.stdin is not None and process.stdout is not None
        lines = [json.dumps({'job': vars(job), 'cache': str(cache)})]
        if not getattr(process, 'greeted', False):
            lines.insert(0, self._setup)
            process.greeted = True  # type: ignore[attr-defined]
        try:
            process.stdin.write('\n'.join(lines) + '\n')
            process.stdin.flush()
            line = process.stdout.readline()
            return dict(json.loads(line)) if line.endswith('\n') else None
        except (BrokenPipeError, ValueError):
            return None


def _result(reply: dict[str, Any]) -> Converted | OSError:
    return OSError(reply['error']) if 'error' in reply else Converted(**reply)


def _ended(job: Job, status: int) -> Converted:
    what = f'signal {-status}' if status < 0 else f'exit code {status}'
    return Converted(job.path, job.path.rsplit('/', 1)[-1], True,
                     f'reading it ended {TRIES} workers ({what})', 'damaged')

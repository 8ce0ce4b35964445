# SPDX-License-Identifier: Apache-2.0
"""Where inference runs, as the node sees it: a worker process, or a thread for tests.

`send` never blocks on the model. `on_reply` is called from a thread of the backend with each reply
frame, and with a `died` frame when the worker is gone; then `restart` starts a fresh one.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
from multiprocessing.connection import Connection
import os
import queue
import socket
import subprocess
import sys
import threading
from typing import Protocol

from lwd_core.priority import make_ordinary
from lwd_policy_node.arena import Arena
from lwd_policy_node.wire import decode, encode, Frame
from lwd_policy_node.worker import DEFAULT_LOADER, find_loader, WorkerCore

OnReply = Callable[[Frame], None]
CLOSE_TIMEOUT_S = 2.0


class Inference(Protocol):
    """What both backends offer."""

    def start(self) -> None:
        """Start a worker; replies `ready` when it can take requests."""

    def send(self, frame: Frame) -> None:
        """Queue a request; dropped if there is no worker."""

    def kill(self) -> None:
        """End a stalled worker; a `died` frame follows."""

    def close(self) -> None:
        """End the worker; no reply follows."""


class ProcessInference:
    """A worker process on the other end of a socket pair; images go through shared memory."""

    def __init__(self, on_reply: OnReply, loader: str = DEFAULT_LOADER, niceness: int = 0) -> None:
        """`niceness`: how far the worker steps back for the tick and the executor once it acts."""
        self._on_reply = on_reply
        self._loader = loader
        self._niceness = niceness
        self.arena = Arena()
        self._closed = False
        self._sending = threading.Lock()
        self._connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the worker's process id, None if there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start a worker process and the thread that reads its replies."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, '-m', 'lwd_policy_node.worker', str(theirs.fileno()),
                   self._loader, str(self.arena.fd), str(self._niceness)]
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno(), self.arena.fd], env=_environment(),
            stdin=subprocess.DEVNULL)
        theirs.close()
        make_ordinary(self._process.pid)
        self._connection = Connection(ours.detach())
        threading.Thread(target=self._read, args=(self._connection, self._process),
                         name='inference-replies', daemon=True).start()

    def send(self, frame: Frame) -> None:
        """Send a request."""
        request_id = frame.fields['id'] if frame.kind == 'act' else None
        with self._sending, contextlib.suppress(OSError, ValueError):
            if self._connection is not None:
                places = {} if request_id is None else self.arena.put(request_id, frame.arrays)
                self._connection.send_bytes(encode(frame, places))

    def kill(self) -> None:
        """End the worker at once."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Close the connection; the worker ends by itself, or is ended."""
        self._closed = True
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _read(self, connection: Connection, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                frame = decode(connection.recv_bytes())
                if frame.kind in ('chunk', 'failed'):
                    self.arena.release(frame.fields['id'])
                self._on_reply(frame)
        status = process.wait()
        with self._sending:
            connection.close()
            if self._connection is connection:
                self._connection = None
            self.arena.release_all()
        if not self._closed:
            self._on_reply(Frame('died', {'reason': f'inference worker ended ({_status(status)})'}))


class InlineInference:
    """The same worker in a thread of this process: for tests and for debugging a model."""

    pid = None

    def __init__(self, on_reply: OnReply, loader: str = DEFAULT_LOADER) -> None:
        self._on_reply = on_reply
        self._loader = loader
        self._queue: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the thread."""
        core = WorkerCore(find_loader(self._loader), self._on_reply)
        self._queue = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(core, self._queue), name='inference',
                         daemon=True).start()

    def send(self, frame: Frame) -> None:
        """Queue a request."""
        self._queue.put(frame)

    def kill(self) -> None:
        """Abandon the thread; a thread cannot be ended."""
        self.close()
        self._on_reply(Frame('died', {'reason': 'inference thread was abandoned'}))

    def close(self) -> None:
        """Let the thread end after what it has."""
        self._queue.put(None)

    def _run(self, core: WorkerCore, frames: queue.SimpleQueue[Frame | None]) -> None:
        self._on_reply(Frame('ready'))
        while True:
            try:
                frame = frames.get(timeout=core.patience)
            except queue.Empty:
                core.clean()
                continue
            if frame is None:
                return
            core.handle(frame)


def make_inference(kind: str, on_reply: OnReply, loader: str = DEFAULT_LOADER,
                   niceness: int = 0) -> Inference:
    """Return the backend a node's `inference` parameter names."""
    if kind == 'process':
        return ProcessInference(on_reply, loader, niceness)
    return InlineInference(on_reply, loader)


def _environment() -> dict[str, str]:
    """Return the environment of a worker: one thread, and this process's import paths."""
    paths = [path for path in sys.path if path]
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(paths)}


def _status(status: int) -> str:
    return f'signal {-status}' if status < 0 else f'exit code {status}'

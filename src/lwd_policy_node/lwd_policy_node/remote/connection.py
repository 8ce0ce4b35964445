# SPDX-License-Identifier: Apache-2.0
"""One connection to a policy server: a request, its answer, a time limit.

A connection on which anything went wrong is closed: a late answer must never be taken for the
answer to the next question. The next request connects again, after a pause that doubles.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
from dataclasses import dataclass
import os
import time
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from lwd_policy_node.remote.codec import CodecError, pack, unpack
from lwd_policy_node.remote.spec import RemoteSpec

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
MAX_MESSAGE_BYTES = 1 << 26


class ServerAwayError(ConnectionError):
    """The server does not answer, or not in time."""


class ServerRefusedError(RuntimeError):
    """The server answered that it cannot."""


@dataclass(frozen=True)
class Answer:
    """What came back, and how long it took [s]."""

    content: dict[Any, Any]
    round_trip: float
    on_server: float  # as the server says; NaN if it does not


class Connection:
    """Connects on first use, and again after a loss."""

    def __init__(self, spec: RemoteSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self._spec = spec
        self._clock = clock
        self._socket: ClientConnection | None = None
        self._pause, self._not_before = FIRST_PAUSE_S, 0.0
        self._lost = ''
        self.metadata: dict[Any, Any] = {}
        self.connects = 0

    def request(self, observation: dict[str, Any]) -> Answer:
        """Return the server's answer; raises ServerAwayError or ServerRefusedError."""
        socket = self._connected()
        started = self._clock()
        try:
            socket.send(pack(observation))
            message = socket.recv(timeout=self._spec.timeout)
        except TimeoutError:
            raise self._lose(f'no answer within {self._spec.timeout:g} s') from None
        except (OSError, WebSocketException) as error:
            raise self._lose(f'{type(error).__name__}: {error}') from error
        round_trip = self._clock() - started
        if isinstance(message, str):  # a traceback; the server closes after it
            self.close()
            raise ServerRefusedError(f'{self._spec.url}: {_last_line(message)}')
        content = self._content(message)
        self._pause = FIRST_PAUSE_S
        return Answer(content, round_trip, _server_seconds(content))

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            with contextlib.suppress(OSError, WebSocketException):
                self._socket.close()
            self._socket = None

    def _content(self, message: bytes) -> dict[Any, Any]:
        try:
            content = unpack(message)
        except CodecError as error:
            raise self._lose(str(error)) from error
        if not isinstance(content, dict):
            raise self._lose(f'answers {type(content).__name__}, must be a mapping')
        return content

    def _connected(self) -> ClientConnection:
        if self._socket is not None:
            return self._socket
        wait = self._not_before - self._clock()
        if wait > 0:
            raise ServerAwayError(f'{self._lost}; connecting again in {wait:.1f} s')
        headers = {}
        if self._spec.api_key_env:
            headers['Authorization'] = f'Api-Key {os.environ.get(self._spec.api_key_env, "")}'
        try:
            self._socket = connect(
                self._spec.url, compression=None, max_size=MAX_MESSAGE_BYTES,
                additional_headers=headers, open_timeout=self._spec.connect_timeout,
                close_timeout=0.2)
            self.metadata = self._content(_bytes(
                self._socket.recv(timeout=self._spec.connect_timeout)))
        except (OSError, WebSocketException) as error:
            if isinstance(error, ServerAwayError):
                raise
            raise self._lose(f'cannot connect: {type(error).__name__}: {error}') from error
        self.connects += 1
        return self._socket

    def _lose(self, reason: str) -> ServerAwayError:
        """Close, put off the next try, and return the error to raise."""
        self.close()
        self._lost = f'policy server {self._spec.url}: {reason}'
        self._not_before = self._clock() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
        return ServerAwayError(self._lost)


def _bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else 'error without a word'


def _server_seconds(content: dict[Any, Any]) -> float:
    timing = content.get('server_timing')
    value = timing.get('infer_ms') if isinstance(timing, dict) else None
    return float(value) / 1e3 if isinstance(value, (int, float)) else float('nan')

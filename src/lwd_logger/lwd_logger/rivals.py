# SPDX-License-Identifier: Apache-2.0
"""Notice a second recorder of the same robot, on whatever machine it runs."""

from __future__ import annotations

from collections import deque
import os
import secrets
import socket

_SILENCE = 5.0  # s; five reports that did not come
_CERTAIN = 2  # reports of somebody else; one may be left over from a recorder that was killed


class Rivals:
    """Tells other recorders' reports on our own status topic by the identity they carry.

    Both of two recorders notice, and both refuse the next episode: an operator has to stop one.
    """

    def __init__(self, identity: str = '') -> None:
        self.identity = identity or (
            f'{socket.gethostname()} pid {os.getpid()} ({secrets.token_hex(2)})')
        self._others: deque[tuple[float, str]] = deque(maxlen=_CERTAIN)

    def heard(self, identity: str, now: float) -> None:
        """Take a report that arrived at `now` [s, monotonic]."""
        if identity != self.identity:
            self._others.append((now, identity))

    def present(self, now: float) -> str:
        """Return who else is recording, '' if nobody is."""
        if len(self._others) < _CERTAIN or now - self._others[0][0] > _SILENCE:
            return ''
        return self._others[-1][1] or 'unnamed'

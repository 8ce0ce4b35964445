# SPDX-License-Identifier: Apache-2.0
"""When a dead process may start again; pure, on any clock."""

from lwd_bringup.graph.spec import Respawn


class Backoff:
    """Doubling delay between restarts, forgotten once a process has lived for `window` s."""

    def __init__(self, policy: Respawn) -> None:
        self._policy = policy
        self._attempts = 0

    @property
    def attempts(self) -> int:
        """Return the restarts since the last good stretch."""
        return self._attempts

    def next_delay(self, lived: float) -> float | None:
        """Return the s to wait after a life of `lived` s, or None: give up."""
        policy = self._policy
        if lived >= policy.window:
            self._attempts = 0
        if not policy.on_failure or self._attempts >= policy.max_restarts:
            return None
        delay = min(policy.delay * 2 ** self._attempts, policy.max_delay)
        self._attempts += 1
        return delay

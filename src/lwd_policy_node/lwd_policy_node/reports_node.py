# SPDX-License-Identifier: Apache-2.0
"""When the policy node says what: status on change and at 1 Hz, cadence by episode and run."""

from __future__ import annotations

from typing import Any

from lwd_policy_node.cadence import Cadence
from lwd_policy_node.loop import ControlLoop
from lwd_policy_node.outputs_node import PolicyOutputs
from lwd_policy_node.supervisor import Supervisor


class Reports:
    """What the loop counted, said to the terminal, policy/* and /diagnostics."""

    def __init__(self, outputs: PolicyOutputs, loop: ControlLoop, supervisor: Supervisor,
                 lock: Any) -> None:
        """`lock` guards the loop."""
        self._outputs = outputs
        self._loop = loop
        self._supervisor = supervisor
        self._lock = lock
        self._total = Cadence()  # of all episodes

    def status(self) -> Any:
        """Publish and return the state."""
        with self._lock:
            return self._outputs.status(self._loop, self._supervisor)

    def periodic(self) -> None:
        """Publish state and diagnostics."""
        self._outputs.diagnostics(self.status(), self._loop, self._supervisor)

    def episode(self, episode_id: str) -> None:
        """Report an episode that ended; the next one is counted from nothing."""
        with self._lock:
            self._loop.end_episode()
            done, self._loop.cadence = self._loop.cadence, self._loop.cadence.successor()
        if done.ticks:
            self._total.absorb(done)
            self._outputs.cadence(episode_id, done)

    def whole_run(self) -> None:
        """Report everything since the start; the caller holds the lock."""
        self._total.absorb(self._loop.cadence)
        if self._total.ticks:
            self._outputs.cadence('', self._total)

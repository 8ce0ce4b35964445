# SPDX-License-Identifier: Apache-2.0
"""The policy node as it always runs, with the time of every tick and every command kept.

Writes rows (stamp, woken, sent, ready) to the file named first: ns of wall time, 0: never; ready is
1 where the tick had its row when it came, 0 where it waited for a chunk.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from lwd_core.clock import Tick
from lwd_policy_node.policy_node import PolicyNode
from lwd_policy_node.spin_node import run

OUT = sys.argv.pop(1)


class TimedPolicy(PolicyNode):
    """Notes when a tick's thread woke and when its command was out."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.woken: dict[int, int] = {}
        self.sent: dict[int, int] = {}
        self.ready: set[int] = set()

    def _on_tick(self, tick: Tick) -> None:
        self.woken[tick.stamp_ns] = time.time_ns()
        super()._on_tick(tick)
        if tick.stamp_ns in self.sent:
            self.ready.add(tick.stamp_ns)

    def on_configure(self, state: Any) -> Any:
        """Configure, then note every command."""
        done = super().on_configure(state)
        publish = self.outputs.command

        def command(stamp_ns: int, epoch: int, decision: Any) -> None:
            publish(stamp_ns, epoch, decision)
            self.sent[stamp_ns] = time.time_ns()
        self.outputs.command = command  # type: ignore[method-assign]
        return done

    def close(self) -> None:
        """Close and write."""
        super().close()
        rows = [(stamp, woken, self.sent.get(stamp, 0), stamp in self.ready)
                for stamp, woken in self.woken.items()]
        np.save(OUT, np.array(rows, np.int64).reshape(-1, 4))


if __name__ == '__main__':
    run(TimedPolicy)

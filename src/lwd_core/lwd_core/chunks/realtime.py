# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking (arXiv 2506.07339; with a trained prefix, arXiv 2512.05964).

The next chunk is planned while the running one is executed and is made to continue it: the rows
that will be executed before it can arrive are fixed, those after them pull with falling weight.
"""

from __future__ import annotations

from collections import deque

from lwd_core.chunking import Chunk, Receipt, Synchronous
from lwd_core.chunks.continuation import Continuation, GUIDED

DELAYS_KEPT = 10  # measured delays whose largest is expected next time, as in the paper


class RealTime(Synchronous):
    """A new chunk every `execute_steps` ticks, or as soon as the one before it is there.

    The delay is measured in ticks, so it follows latency and rate; `lookahead` is what is expected
    before the first measurement, and without `overrun` (lockstep) always.
    Needs execute_steps + delay <= H.
    """

    def __init__(self, execute_steps: int = 8, lookahead: int = 1, overrun: bool = False,
                 kind: str = GUIDED, max_weight: float = 0.0) -> None:
        super().__init__(execute_steps, lookahead, overrun)
        self.kind = kind
        self.max_weight = max_weight
        # Over mode changes: the machine does not become faster by one.
        self._delays = deque([lookahead], maxlen=DELAYS_KEPT)

    @property
    def expected_delay(self) -> int:
        """Return how many ticks the next chunk is expected to take."""
        return max(self._delays) if self.overrun else self.lookahead

    def receive(self, chunk: Chunk, tick: int) -> Receipt:
        """Switch to `chunk` and remember what it took."""
        receipt = super().receive(chunk, tick)
        if receipt.accepted:
            self._delays.append(self.delay)
        return receipt

    def _due(self, chunk: Chunk, tick: int) -> bool:
        # Not later than what is left covers the delay; in lockstep exactly then.
        spare = chunk.horizon - self.expected_delay
        return tick - chunk.tick >= min(self.execute_steps, max(self._start, spare))

    def _end(self, chunk: Chunk) -> int:
        """Lockstep: the running chunk acts until the next one is due to take over."""
        last = chunk.tick + chunk.horizon
        return last if self._pending is None else min(last, self._pending + self.lookahead)

    def _continuation(self, chunk: Chunk, tick: int) -> Continuation | None:
        rows = chunk.actions[tick - chunk.tick:]
        if not len(rows):
            return None  # starved: nothing runs that could be continued
        return Continuation(rows, min(self.expected_delay, len(rows)), self.kind, self.max_weight)

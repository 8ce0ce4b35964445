# SPDX-License-Identifier: Apache-2.0
"""Which action of which chunk is executed at which tick, and when to ask for the next chunk.

Pure and indexed by ticks (whole numbers, one per control period); no clock, no thread. A scheduler
is driven by one caller:

    reset(epoch)            at every mode change: nothing planned before it survives
    request(tick)           a ChunkRequest if a chunk is to be planned from this tick's observation
    receive(chunk, tick)    the chunk arrived while `tick` was the newest tick
    withdraw(tick)          the request made at `tick` came to nothing
    action(tick)            what to execute, or no action and the reason

Row i of a chunk computed from the observation of tick t is the action of tick t + i. The schedulers
to choose from are built by `lwd_core.chunks.config.make_scheduler`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lwd_core.chunks.continuation import Continuation

Actions = NDArray[np.float32]

WAITING = 'waiting for the first chunk'
IN_FLIGHT = 'chunk used up, the next one is not there yet'
USED_UP = 'chunk used up and none asked for'


@dataclass(frozen=True)
class Chunk:
    """Actions [H, d] computed from the observation of `tick`, in mode epoch `epoch`."""

    chunk_id: int
    epoch: int
    tick: int
    actions: Actions

    @property
    def horizon(self) -> int:
        """Return H, the number of ticks the chunk has actions for."""
        return len(self.actions)


@dataclass(frozen=True)
class ChunkRequest:
    """A chunk is wanted from the observation of `tick`.

    `continuation` is what it has to agree with and `running` the chunk that comes from; None and 0
    where it starts afresh.
    """

    tick: int
    epoch: int
    continuation: Continuation | None = None
    running: int = 0


@dataclass(frozen=True)
class Decision:
    """The action of one tick, [d]; None with the reason when there is none to execute."""

    action: Actions | None
    chunk_id: int = 0
    index: int = 0
    reason: str = ''


@dataclass(frozen=True)
class Receipt:
    """What became of a chunk: accepted from row `delay` (in ticks) on, or refused with a reason."""

    accepted: bool
    delay: int = 0
    reason: str = ''


class ChunkScheduler(Protocol):
    """What every scheduler offers; see the module's docstring for who calls what."""

    delay: int  # ticks the newest accepted chunk took from observation to arrival

    @property
    def pending(self) -> int | None:
        """Return the tick of the request under way, None if there is none."""

    def reset(self, epoch: int) -> None:
        """Forget everything; from now on only chunks of `epoch` count."""

    def request(self, tick: int) -> ChunkRequest | None:
        """Return what to compute now, at most one request at a time."""

    def receive(self, chunk: Chunk, tick: int) -> Receipt:
        """Take a chunk that arrived while `tick` was the newest tick."""

    def withdraw(self, tick: int) -> None:
        """Forget the request made at `tick`: it will not be answered."""

    def action(self, tick: int) -> Decision:
        """Return what to execute at `tick`; never a row twice, never a row of another tick."""


class Synchronous:
    """Execute `execute_steps` of a chunk, then plan again: the paper's scheme.

    The next chunk is asked for `lookahead` ticks before the current one is used up and takes over
    when it arrives, at the row that belongs to that tick: the rows before are skipped, not delayed,
    and `execute_steps` counts from there.
    With `overrun` the rows beyond `execute_steps` are executed while the next chunk is late (a
    robot that cannot wait). Without it (lockstep) a tick has no action until the chunk is there,
    and a chunk that comes early waits for `lookahead` ticks: what is executed does not depend on
    how fast inference was.

    The other schedulers derive from this one and change when a chunk is due, what it has to
    continue, and how it takes over.
    """

    def __init__(self, execute_steps: int = 8, lookahead: int = 0, overrun: bool = False) -> None:
        if execute_steps < 1:
            raise ValueError(f'execute_steps: is {execute_steps}, must be at least 1')
        if not 0 <= lookahead < execute_steps:
            raise ValueError(f'lookahead: is {lookahead}, must be from 0 to execute_steps - 1, '
                             f'which is {execute_steps - 1}')
        self.execute_steps = execute_steps
        self.lookahead = lookahead
        self.overrun = overrun
        self.delay = 0
        self.reset(0)

    def reset(self, epoch: int) -> None:
        """Forget chunk and request; from now on only chunks of `epoch` count."""
        self._epoch = epoch
        self._chunk: Chunk | None = None
        self._before: Chunk | None = None  # acts until row `_start` of the current chunk
        self._start = 0  # first row of the current chunk that could be executed
        self._pending: int | None = None
        self._executed = -1  # newest tick that had an action

    @property
    def pending(self) -> int | None:
        """Return the tick of the request under way."""
        return self._pending

    def request(self, tick: int) -> ChunkRequest | None:
        """Return a request when the current chunk is within `lookahead` of being used up."""
        chunk = self._chunk
        if self._pending is not None or (chunk is not None and not self._due(chunk, tick)):
            return None
        self._pending = tick
        continuation = None if chunk is None else self._continuation(chunk, tick)
        running = 0 if chunk is None or continuation is None else chunk.chunk_id
        return ChunkRequest(tick, self._epoch, continuation, running)

    def receive(self, chunk: Chunk, tick: int) -> Receipt:
        """Switch to `chunk` at the row of `tick`, unless it is of another epoch or too late."""
        if chunk.epoch != self._epoch:
            return Receipt(False, reason=f'planned in epoch {chunk.epoch}, now is {self._epoch}')
        if chunk.tick != self._pending:
            return Receipt(False, reason=f'planned at tick {chunk.tick}, asked for was '
                                         f'{self._pending}')
        # A tick that had its action already is over, however early the chunk came: what is
        # executed then does not depend on when exactly within a tick it arrived.
        self.delay = max(tick, self._executed + 1) - chunk.tick
        start = self.delay if self.overrun or self._chunk is None else (
            max(self.delay, self.lookahead))
        self._pending = None
        if start >= chunk.horizon:
            return Receipt(False, start, f'arrived {start} ticks late, horizon {chunk.horizon}')
        self._before, self._chunk = self._chunk, self._joined(chunk, start)
        self._start = start
        return Receipt(True, start)

    def withdraw(self, tick: int) -> None:
        """Forget the request made at `tick`."""
        if self._pending == tick:
            self._pending = None

    def action(self, tick: int) -> Decision:
        """Return the row of `tick` to be executed, or why there is none."""
        chunk = self._chunk
        if chunk is None:
            return Decision(None, reason=WAITING)
        index = tick - chunk.tick
        end = chunk.tick + chunk.horizon if self.overrun else self._end(chunk)
        if index < 0:
            return Decision(None, reason=f'tick {tick} lies before its chunk of tick {chunk.tick}')
        if tick >= end:
            return Decision(None, reason=USED_UP if self._pending is None else IN_FLIGHT)
        self._executed = tick
        before = self._before
        if index < self._start and before is not None and tick < before.tick + before.horizon:
            return Decision(before.actions[tick - before.tick], before.chunk_id,
                            tick - before.tick)
        return Decision(chunk.actions[index], chunk.chunk_id, index)

    # -- what the other schedulers change

    def _due(self, chunk: Chunk, tick: int) -> bool:
        """Tell whether the chunk after `chunk` is to be planned at `tick`."""
        return tick >= self._end(chunk) - self.lookahead

    def _end(self, chunk: Chunk) -> int:
        """Return the first tick that the chunk is not meant for."""
        return chunk.tick + min(self._start + self.execute_steps, chunk.horizon)

    def _continuation(self, chunk: Chunk, tick: int) -> Continuation | None:
        """Return what a chunk planned at `tick` while `chunk` runs has to agree with."""
        return None

    def _joined(self, chunk: Chunk, start: int) -> Chunk:
        """Return `chunk` as it is executed, its rows before `start` those of the running one."""
        running = self._chunk
        if running is None:
            return chunk
        before = running.actions[chunk.tick - running.tick:][:start]
        if not len(before):
            return chunk
        return replace(chunk, actions=np.concatenate((before, chunk.actions[len(before):])))

# SPDX-License-Identifier: Apache-2.0
"""Would-be against executed actions, tick by tick and chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lwd_bringup.shadow.feed import HUMAN, POLICY
from lwd_core.episode.reader import stamp_ns


@dataclass(frozen=True)
class Chunk:
    """A chunk by its tick: what it was computed from, and what came out, [H, d]."""

    tick_ns: int
    checkpoint: str
    seed: int
    sources: dict[str, int]
    actions: np.ndarray
    shadow: bool = False

    @classmethod
    def of(cls, message: Any) -> Chunk:
        """Take an ActionChunk, from rclpy or from a bag."""
        actions = np.asarray(message.actions, np.float32)
        return cls(stamp_ns(message.header.stamp), message.checkpoint, int(message.seed),
                   dict(zip(message.observation_sources,
                            map(stamp_ns, message.observation_stamps))),
                   actions.reshape(message.horizon, message.action_dim), bool(message.shadow))

    def differs(self, other: Chunk) -> str:
        """Say what makes `other` another computation, '' if nothing does."""
        if self.checkpoint != other.checkpoint:
            return 'checkpoint'
        if self.seed != other.seed:
            return 'seed'
        return '' if self.sources == other.sources else 'observation'


@dataclass
class Comparison:
    """T ticks, d joints; times in s since the first tick, actions in robot units."""

    joint_names: tuple[str, ...]
    time: np.ndarray  # [T]
    source: np.ndarray  # [T] ExecutedAction.SOURCE_*
    executed: np.ndarray  # [T, d] as requested at the arbiter; as sent where nobody asked
    would: np.ndarray  # [T, d]; NaN where the policy had nothing to say
    exact: np.ndarray  # [T] equal to the last bit
    chunks: dict[str, int] = field(default_factory=dict)
    recomputed: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def error(self) -> np.ndarray:
        """Return |would - executed| [T, d]."""
        return np.abs(self.would - self.executed)

    def summary(self) -> dict[str, Any]:
        """Return the figures as plain data; None where there is nothing to compare."""
        drivers = {name: self._figures(self.source == number)
                   for name, number in (('policy', POLICY), ('human', HUMAN))}
        return {'ticks': len(self.time), **drivers, 'chunks': self.chunks,
                'recomputed': self.recomputed, 'notes': self.notes}

    def _figures(self, chosen: np.ndarray) -> dict[str, Any]:
        answered = chosen & np.isfinite(self.would).all(1)
        error = self.error[answered]
        worst = error.max(0) if len(error) else None
        return {
            'ticks': int(chosen.sum()), 'answered': int(answered.sum()),
            'bit_exact': int((self.exact & answered).sum()),
            'max_error': None if worst is None else float(worst.max()),
            'mean_error': float(error.mean()) if len(error) else None,
            'max_error_by_joint': {} if worst is None else {
                name: float(value) for name, value in zip(self.joint_names, worst)},
        }


def compare(executed: Sequence[Any], recorded: Mapping[int, Any], commands: Mapping[int, Any],
            would: Mapping[int, Chunk]) -> Comparison:
    """Compare a recording with what the policy did in its place.

    executed: ExecutedAction in tick order; recorded: tick -> ActionChunk; commands: tick -> action
    [d] that the policy published; would: tick -> chunk it planned.
    """
    ticks = [stamp_ns(action.header.stamp) for action in executed]
    names = tuple(executed[0].joint_names)
    asked = np.stack([np.asarray(a.requested if len(a.requested) else a.sent, np.float64)
                      for a in executed])
    answers = np.full_like(asked, np.nan)
    newest: Chunk | None = None
    for row, tick in enumerate(ticks):
        newest = would.get(tick, newest)
        if tick in commands:
            answers[row] = commands[tick]
        elif newest is not None and executed[row].source != POLICY:
            answers[row] = _row(newest, ticks, row)
    source = np.array([action.source for action in executed], np.uint8)
    then = {tick: Chunk.of(chunk) for tick, chunk in recorded.items()}
    chunks, notes = _chunks(then, would)
    return Comparison(names, (np.array(ticks) - ticks[0]) / 1e9, source, asked, answers,
                      (answers == asked).all(1), chunks, notes=notes)


def _row(chunk: Chunk, ticks: Sequence[int], row: int) -> np.ndarray | float:
    """Return the row of a chunk that belongs to a tick, NaN beyond its end."""
    period = min(b - a for a, b in zip(ticks, ticks[1:])) if len(ticks) > 1 else 1
    index = round((ticks[row] - chunk.tick_ns) / period)
    return chunk.actions[index] if 0 <= index < len(chunk.actions) else np.nan


def _chunks(then: Mapping[int, Chunk], now: Mapping[int, Chunk]
            ) -> tuple[dict[str, int], list[str]]:
    """Count chunks by what became of them, and note the first of each kind of difference."""
    counts = {'recorded': len(then), 'planned': len(now), 'at_the_same_tick': 0,
              'same_computation': 0, 'bit_exact': 0}
    seen: dict[str, int] = {}
    notes = []
    for tick, old in then.items():
        new = now.get(tick)
        if new is None:
            continue
        counts['at_the_same_tick'] += 1
        why = old.differs(new)
        equal = old.actions.shape == new.actions.shape and np.array_equal(old.actions, new.actions)
        counts['bit_exact'] += equal
        counts['same_computation'] += not why
        if why:
            seen[why] = seen.get(why, 0) + 1
            if seen[why] == 1:
                notes.append(_note(tick, why, old, new))
        elif not equal:
            notes.append(f'tick {tick / 1e9:.3f} s: the same checkpoint, seed and observation '
                         'gave another chunk')
    return counts, [*notes, *(f'{count} chunks differ in {why}' for why, count in seen.items())]


def _note(tick: int, why: str, old: Chunk, new: Chunk) -> str:
    if why == 'observation':
        sources = [f'{name}: {old.sources.get(name)} then, {new.sources.get(name)} now'
                   for name in sorted({*old.sources, *new.sources})
                   if old.sources.get(name) != new.sources.get(name)]
        return f'tick {tick / 1e9:.3f} s: other samples were joined ({"; ".join(sources)})'
    then, now = getattr(old, why), getattr(new, why)
    if why == 'checkpoint':
        then, now = then[:12] or 'none', now[:12] or 'none'
    return f'tick {tick / 1e9:.3f} s: {why} was {then}, is {now}'


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return everything, tick by tick, as plain data; NaN becomes None."""
    def rows(values: np.ndarray) -> list[list[float | None]]:
        return [[None if np.isnan(value) else float(value) for value in row] for row in values]
    return {
        'joint_names': list(comparison.joint_names), 'summary': comparison.summary(),
        'time': comparison.time.tolist(), 'source': comparison.source.tolist(),
        'executed': rows(comparison.executed), 'would': rows(comparison.would),
        'exact': comparison.exact.tolist()}



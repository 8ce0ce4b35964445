# SPDX-License-Identifier: Apache-2.0
"""Replay: every tick of every episode is the start of a chunk transition, gathered on the fly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from lwd_learner.algorithms.dagger import imitation_ticks
from lwd_learner.columns import Column
from lwd_learner.episodes import EpisodeArrays, ORIGINS, SOURCE_HOLD
from lwd_learner.replay_layout import make_columns, require_fit
from lwd_learner.takeovers import ends_by_takeover
from lwd_learner.transitions import annotate, Bools, Ints, returns, startable, Ticks

Batch = dict[str, Any]  # tensors by name, and 'next': the same observation names at t + k
ImitationRule = Callable[[NDArray[np.uint8], bool], Bools]  # (source [T], success) -> [T]


class ReplayError(ValueError):
    """The buffer cannot answer; says what is missing."""


def imitation_rule(selection: str) -> ImitationRule:
    """Return HG-DAgger's selection without held poses: nobody wants a policy that freezes."""
    def rule(source: NDArray[np.uint8], success: bool) -> Bools:
        return imitation_ticks(source, success, selection) & (source != SOURCE_HOLD)
    return rule


class ReplayBuffer:
    """All ticks of all episodes in contiguous arrays; transitions are index arithmetic.

    Not thread-safe: whoever trains also adds (ingest hands over finished EpisodeArrays).
    """

    def __init__(
        self,
        horizon: int,
        gamma: float = 0.9999,
        directory: Path | None = None,
        imitation: ImitationRule | None = None,
        takeover: str = 'ordinary',
    ) -> None:
        """Start empty; `imitation` says which executed actions behaviour cloning may copy.

        `takeover`: what a takeover says about what came before (`lwd_learner.takeovers`).
        """
        self.horizon = horizon
        self.gamma = gamma
        self._imitation = imitation or imitation_rule('successes_and_corrections')
        self._takeover = takeover
        self._directory = directory
        self._columns: dict[str, Column] = {}
        self._inputs: tuple[str, ...] = ()
        self._tasks: list[str] = []
        self._starts: dict[tuple[int, int], Column] = {}
        self._imitable: dict[int, Column] = {}
        self._ids: dict[str, int] = {}
        self._recorded_sum = 0  # of the online episodes' wall times, ns
        self._first: list[int] = []
        self._last = Column((), np.int64)  # an episode's last tick
        self.longest: list[int] = []  # ticks of a task's longest episode, by task
        self.transitions = [0, 0]  # by origin
        self.episodes = [0, 0]
        self.successes: dict[tuple[int, int], int] = {}  # episodes by (task, origin)
        self._spent: dict[int, tuple[int, int]] = {}  # successes and their ticks, by task
        self._counts: dict[tuple[int, int], int] = {}  # episodes by (task, origin)
        self._robot = ''  # digest of the specification the first episode was recorded with
        self._order = hashlib.sha256()

    def __len__(self) -> int:
        """Count ticks."""
        return len(self._columns['source']) if self._columns else 0

    def __contains__(self, episode_id: object) -> bool:
        """Say whether the episode was added."""
        return episode_id in self._ids

    @property
    def tasks(self) -> list[str]:
        """Return task names by task index, in order of first appearance."""
        return list(self._tasks)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return the names of the observation arrays."""
        return self._inputs

    def add(self, episode: EpisodeArrays) -> int:
        """Append one episode; return how many transitions it brought."""
        if episode.episode_id in self._ids:
            raise ReplayError(f'episode {episode.episode_id} is in the buffer already')
        if not self._columns:
            self._inputs = tuple(sorted(episode.inputs))
            self._columns = make_columns(episode, self._directory)
        require_fit(episode, self._inputs, self._columns, self._robot)
        self._robot = self._robot or episode.robot_digest
        base = len(self)
        gaps, failed = ends_by_takeover(episode.source, self._takeover)
        ticks = annotate(episode.gaps | gaps, terminal=episode.terminal, success=episode.success,
                         failed=failed)
        length, number = len(episode), len(self._ids)
        task, origin = self._task(episode.task), ORIGINS.index(episode.origin)
        imitate = self._imitation(episode.source, episode.success)
        rows: dict[str, NDArray[Any]] = {
            'imitate': imitate,
            'action': episode.actions,
            'source': episode.source,
            'remaining': ticks.remaining,
            'terminal': ticks.terminal,
            'earned': ticks.success,
            'task': np.full(length, task, np.uint8),
            'origin': np.full(length, origin, np.uint8),
            'success': np.full(length, episode.success),
            'episode': np.full(length, number, np.int32),
            **{f'inputs.{name}': episode.inputs[name] for name in self._inputs},
        }
        for name, values in rows.items():
            self._columns[name].append(values)
        self._columns['instruction'].append(episode.instruction[None])
        begins = startable(ticks)
        starts = base + np.flatnonzero(begins)
        self._bucket(task, origin).append(starts)
        column = self._imitable.setdefault(task, Column((), np.int64))
        column.append(base + np.flatnonzero(begins & imitate))
        self._ids[episode.episode_id] = number
        self._order.update(episode.episode_id.encode() + b'\0')
        self._first.append(base)
        self._last.append(np.array([base + length - 1]))
        self.longest[task] = max(self.longest[task], length)
        self._recorded_sum += episode.recorded_ns * origin
        self.transitions[origin] += len(starts)
        self.episodes[origin] += 1
        self._counts[task, origin] = self._counts.get((task, origin), 0) + 1
        if episode.success:
            self.successes[task, origin] = self.successes.get((task, origin), 0) + 1
            count, ticks_spent = self._spent.get(task, (0, 0))
            self._spent[task] = count + 1, ticks_spent + length
        return len(starts)

    def starts(self, task: int, origin: int) -> Ints:
        """Return the ticks that start a transition of this task and origin; maybe none."""
        column = self._starts.get((task, origin))
        return np.empty(0, np.int64) if column is None else column.rows

    def imitation_starts(self) -> dict[int, Ints]:
        """Return, by task, the starts whose first action may be imitated."""
        return {task: column.rows for task, column in self._imitable.items() if len(column)}

    def all_starts(
        self,
        *,
        success: bool | None = None,
        origins: Iterable[int] = (0, 1),
        sources: Iterable[int] | None = None,
    ) -> dict[int, Ints]:
        """Return starts by task, filtered by the episode's success and the tick's source."""
        chosen: dict[int, Ints] = {}
        for (task, origin), column in sorted(self._starts.items()):
            if origin not in set(origins):
                continue
            starts = column.rows
            if success is not None:
                starts = starts[self._columns['success'].rows[starts] == success]
            if sources is not None:
                starts = starts[np.isin(self._columns['source'].rows[starts], list(sources))]
            if len(starts):
                chosen[task] = np.concatenate([chosen.get(task, starts[:0]), starts])
        return chosen

    def success_chunks(self, task: int) -> float:
        """Return the mean length of a task's successes in chunks; NaN without one."""
        count, ticks = self._spent.get(task, (0, 0))
        return ticks / count / self.horizon if count else float('nan')

    def episodes_of(self, task: int) -> tuple[int, int]:
        """Return the numbers of offline and online episodes of a task."""
        return self._counts.get((task, 0), 0), self._counts.get((task, 1), 0)

    def episode_ends(self, ticks: Ints) -> Ints:
        """Return the last tick [B] of the episodes that `ticks` [B] are of."""
        ends: Ints = self._last.rows[self._columns['episode'].rows[ticks]]
        return ends

    @property
    def cursor(self) -> tuple[int, str]:
        """Return how many episodes there are, and a digest of their ids in order."""
        return len(self._ids), self._order.hexdigest()

    def span(self, episode_id: str) -> Ints:
        """Return the tick indices of one episode."""
        if episode_id not in self._ids:
            raise ReplayError(f"no episode '{episode_id}' in the buffer")
        number = self._ids[episode_id]
        end = self._first[number + 1] if number + 1 < len(self._first) else len(self)
        return np.arange(self._first[number], end)

    def observations(self, ticks: Ints) -> Batch:
        """Gather the policy's inputs at these ticks, with the instruction."""
        batch: Batch = {
            name: torch.from_numpy(self._columns[f'inputs.{name}'].rows[ticks])
            for name in self._inputs
        }
        numbers = self._columns['episode'].rows[ticks]
        batch['instruction'] = torch.from_numpy(self._columns['instruction'].rows[numbers])
        return batch

    def gather(self, ticks: Ints, n_step: int | Ints = 1, span: int = 0) -> Batch:
        """Gather transitions that start at `ticks` [B]; `n_step` in chunks, one or [B].

        `span`: control steps of a chunk that are executed before the next; 0: all.
        """
        columns = self._columns
        placed = Ticks(
            columns['remaining'].rows[ticks].astype(np.int64),
            columns['terminal'].rows[ticks],
            columns['earned'].rows[ticks],
        )
        earned = returns(placed, horizon=self.horizon, n_step=n_step, gamma=self.gamma, span=span)
        window = ticks[:, None] + np.arange(self.horizon)[None, :]
        window = np.where(earned.mask, window, ticks[:, None])
        action = columns['action'].rows[window] * earned.mask[:, :, None]
        batch = self.observations(ticks)
        batch |= {
            'action': torch.from_numpy(action),
            'mask': torch.from_numpy(earned.mask.astype(np.float32)),
            'imitate': torch.from_numpy(
                (columns['imitate'].rows[window] & earned.mask).astype(np.float32)
            ),
            'reward': torch.from_numpy(earned.reward),
            'discount': torch.from_numpy(earned.discount),
            'source': torch.from_numpy(columns['source'].rows[ticks]),
            'sources': torch.from_numpy(columns['source'].rows[window]),
            'task': torch.from_numpy(columns['task'].rows[ticks].astype(np.int64)),
            'origin': torch.from_numpy(columns['origin'].rows[ticks].astype(np.int64)),
            'success': torch.from_numpy(columns['success'].rows[ticks].astype(np.float32)),
            'next': self.observations(ticks + earned.steps),
        }
        return batch

    def age_s(self, now_ns: int) -> float:
        """Return the mean age of online episodes in seconds; NaN without any."""
        count = self.episodes[1]
        return (now_ns - self._recorded_sum / count) * 1e-9 if count else float('nan')

    def column(self, name: str) -> NDArray[Any]:
        """Return one whole array without copying ('action', 'inputs.joints', 'source' ...)."""
        return self._columns[name].rows

    def _task(self, name: str) -> int:
        if name not in self._tasks:
            self._tasks.append(name)
            self.longest.append(0)
        return self._tasks.index(name)

    def _bucket(self, task: int, origin: int) -> Column:
        return self._starts.setdefault((task, origin), Column((), np.int64))

# SPDX-License-Identifier: Apache-2.0
"""Roll out a policy on many starts in lockstep, in one process, scheduled as on the robot.

Inference is batched over the episodes that need a chunk at the same step, so that 150 episodes
take seconds. Rows of a chunk are executed by lwd_core's own scheduler.
"""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lwd_core.chunking import Chunk, ChunkRequest
from lwd_core.chunks.config import Chunking, make_scheduler
from lwd_core.chunks.continuation import Continuation
from lwd_core.observation import Observation
from lwd_sim.episode import Episode, Recorder, SOURCE_POLICY
from lwd_sim.instructions import instruction_of
from lwd_sim.observe import observe
from lwd_sim.rendering import CameraRenderer
from lwd_sim.scoring import StageScorer
from lwd_sim.world import World

EVALUATION_SEED = 1_000_000
EXECUTE_STEPS = 8
LOOKAHEAD = 1      # a chunk is asked for one tick before it is needed, and used from its row 1


class BatchPolicy(Protocol):
    """Observations and seeds to chunks."""

    def __call__(self, observations: list[Observation], seeds: list[int],
                 *continuations: list[Continuation | None]) -> np.ndarray:
        """Return chunks float32 [B, H, 14]; continuations only where the scheduler has some."""


@dataclass(frozen=True)
class Result:
    """One episode's outcome; `episode` only if recording was asked for.

    `scores` are those of the sub-steps (scoring.py), none for a binary task.
    """

    task: str
    seed: int
    success: bool
    steps: int
    episode: Episode | None = None
    scores: tuple[float, ...] = ()

    @property
    def score(self) -> float:
        """Return the mean sub-step score; of a binary task 1 or 0."""
        return float(np.mean(self.scores)) if self.scores else float(self.success)


def batched(acting: Any) -> BatchPolicy:
    """Turn lwd_core's ActingPolicy into a BatchPolicy."""
    import torch

    from lwd_core.flow.inputs import observation_arrays

    config = acting.policy.config()

    def act(observations: list[Observation], seeds: list[int],
            *continuations: list[Continuation | None]) -> np.ndarray:
        rows = [observation_arrays(item, config, acting.trunk) for item in observations]
        batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
        return acting.act_batch(batch, seeds, *continuations)

    return act


class PolicyRun:
    """One episode under way: its world, its chunk scheduler, what it recorded."""

    def __init__(self, task: str, seed: int, execute_steps: int, lookahead: int,
                 record: bool, chunking: Chunking | None = None,
                 instruction: str | None = None) -> None:
        self.world = World(task)
        self.world.reset(seed)
        self.instruction = instruction or instruction_of(task)
        self.scorer = StageScorer(self.world) if self.world.task.stages else None
        self.scheduler = make_scheduler(
            chunking or Chunking(execute_steps=execute_steps, lookahead=lookahead))
        self.recorder = Recorder(self.world) if record else None
        self.late_chunk: Chunk | None = None
        self.request: ChunkRequest | None = None
        self.success = self.done = False

    def wants_chunk(self) -> bool:
        """Take the chunk asked for at the previous tick; tell whether a new one is needed."""
        if self.late_chunk is not None:
            self.scheduler.receive(self.late_chunk, self.world.steps)
            self.late_chunk = None
        self.request = self.scheduler.request(self.world.steps)
        return self.request is not None

    def give(self, chunk: np.ndarray) -> None:
        """Hand over a chunk: for the next tick, or at once if nothing else is there to execute."""
        tick = self.world.steps
        planned = Chunk(tick + 1, 0, tick, chunk)
        if self.scheduler.action(tick).action is None:
            self.scheduler.receive(planned, tick)
        else:
            self.late_chunk = planned

    def step(self) -> None:
        """Execute this tick's row."""
        self.finish_step(self.scheduler.action(self.world.steps).action, SOURCE_POLICY)

    def finish_step(self, action: np.ndarray, source: int) -> None:
        """Execute this action, recorded if asked for."""
        if self.recorder is None:
            self.success = self.world.step(action)
        else:
            self.success = self.recorder.step(action, source)
        if self.scorer is not None:
            self.scorer.watch()
        self.done = self.success or self.world.steps >= self.world.task.time_limit

    def result(self) -> Result:
        """Return the outcome."""
        scores = self.scorer.scores() if self.scorer else ()
        episode = self.recorder.finish(self.success, 0, self.instruction, scores) \
            if self.recorder else None
        return Result(self.world.task.name, self.world.seed, self.success, self.world.steps,
                      episode, scores)


def rollout(policy: BatchPolicy, tasks: Sequence[str], seeds: Iterable[int], *,
            execute_steps: int = EXECUTE_STEPS, lookahead: int = LOOKAHEAD, record: bool = False,
            pixels: bool = False, chunking: Chunking | None = None,
            instructions: Mapping[str, Sequence[str]] | None = None) -> list[Result]:
    """Run every task from every seed; return results in the order tasks x seeds.

    `chunking` chooses the scheduler and then counts instead of execute_steps and lookahead.
    `instructions` by task are given in turn instead of the task's own, e.g. held-out paraphrases.
    """
    seeds, texts = list(seeds), instructions or {}
    runs = [PolicyRun(task, seed, execute_steps, lookahead, record, chunking,
                      texts[task][index % len(texts[task])] if task in texts else None)
            for task in tasks for index, seed in enumerate(seeds)]
    run_lockstep(policy, runs, pixels)
    return [run.result() for run in runs]


def run_lockstep(policy: BatchPolicy, runs: Sequence[PolicyRun], pixels: bool = False) -> None:
    """Step all runs together until each is done."""
    renderer = CameraRenderer() if pixels else None
    try:
        active = list(runs)
        while active:
            _plan(policy, [run for run in active if run.wants_chunk()], renderer)
            for run in active:
                run.step()
            active = [run for run in active if not run.done]
    finally:
        if renderer is not None:
            renderer.close()


def _plan(policy: BatchPolicy, runs: list[PolicyRun], renderer: CameraRenderer | None) -> None:
    if not runs:
        return
    observations = [observe(run.world, run.instruction, renderer) for run in runs]
    seeds = [chunk_seed(run.world.seed, run.world.steps) for run in runs]
    continuations = [run.request.continuation if run.request else None for run in runs]
    more = [continuations] if any(continuations) else []
    for run, chunk in zip(runs, policy(observations, seeds, *more)):
        run.give(chunk)


def chunk_seed(episode_seed: int, tick: int) -> int:
    """Return the seed of a chunk's noise."""
    return (episode_seed * 100_003 + tick) % 2**31


def evaluation_seeds(count: int) -> range:
    """Return the held-out start seeds, never used for data."""
    return range(EVALUATION_SEED, EVALUATION_SEED + count)


def summarize(results: Sequence[Result]) -> dict[str, Any]:
    """Return success rates and mean steps, by task and over all (mean of the tasks)."""
    tasks = {}
    for task in dict.fromkeys(result.task for result in results):
        own = [result for result in results if result.task == task]
        tasks[task] = {'success': float(np.mean([r.success for r in own])), 'n': len(own),
                       'steps': float(np.mean([r.steps for r in own])),
                       'score': float(np.mean([r.score for r in own]))}
    return {'mean': float(np.mean([t['success'] for t in tasks.values()])), 'tasks': tasks}

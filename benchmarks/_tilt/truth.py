# SPDX-License-Identifier: Apache-2.0
"""What came of chunks: from one state many chunks, each executed and the episode finished often.

The chunks differ on purpose: two of the policy's, four of them bent (one smooth offset a joint,
0.05 or 0.15 rad), what the expert would do, and one of the SFT policy's. Of the policy's own alone
the outcome hardly depends: on three easy tasks 85 % of the differences between their means of three
episodes were chance, so that no critic could have been seen to order them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
import torch

from lwd_core.instruction import embed
from lwd_learner.algorithms.agent import Agent
from lwd_sim.collect import ARM_MASK
from lwd_sim.episode import SOURCE_POLICY
from lwd_sim.evaluate import evaluation_seeds, EXECUTE_STEPS, PolicyRun, rollout, run_lockstep
from lwd_sim.expert import Expert

KINDS = ('policy', 'bent .05', 'bent .15', 'expert', 'SFT')
KIND = np.array([0, 0, 1, 1, 2, 2, 3, 4])
FIRST = 200  # held-out start that states are taken from: the evaluation's come before
LATEST = 90  # control step a state is taken from at the latest
DECAY = 0.99  # an outcome is this to the power of the steps to success, 0 in a failure
BatchPolicy = Callable[..., np.ndarray]


class Branch(PolicyRun):
    """An episode that repeats given actions, then executes a given chunk, then goes on."""

    def __init__(self, task: str, seed: int, past: np.ndarray, chunk: np.ndarray,
                 repeat: int) -> None:
        super().__init__(task, seed, EXECUTE_STEPS, 1, record=False)
        self.given = list(np.concatenate((past, chunk[:EXECUTE_STEPS])))
        self.began = len(past)
        self.world.seed = seed * 16 + repeat  # the seed of what the policy goes on with

    def wants_chunk(self) -> bool:
        """Ask for a chunk once what was given is used up."""
        return not self.given and super().wants_chunk()

    def step(self) -> None:
        """Execute what was given, or the policy's row."""
        if self.given:
            self.finish_step(self.given.pop(0), SOURCE_POLICY)
        else:
            super().step()


def bent(chunk: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Return a chunk [H, d] with one offset a joint that grows over what is executed."""
    offset = rng.normal(0, scale, chunk.shape[1]) * ARM_MASK
    ramp = np.minimum(1, (np.arange(len(chunk)) + 1) / EXECUTE_STEPS)[:, None]
    return np.asarray(chunk + offset * ramp, np.float32)


def expert_chunk(task: str, seed: int, past: np.ndarray, horizon: int) -> np.ndarray:
    """Return what the expert does [H, d] after the actions `past`."""
    world = PolicyRun(task, seed, EXECUTE_STEPS, 1, record=False).world
    for action in past:
        world.step(action)
    expert, actions = Expert(world.task), []
    for _ in range(horizon):
        actions.append(expert.act(world))
        world.step(actions[-1])
    return np.array(actions, np.float32)


def sampled(policy: Any, inputs: dict[str, torch.Tensor], count: int, seed: int) -> np.ndarray:
    """Return chunks [count, H, d] of a policy at one state."""
    noise = torch.randn(count, policy.horizon, policy.action_dim,
                        generator=torch.Generator().manual_seed(seed))
    rows = {name: x.repeat(count, 1) for name, x in inputs.items()}
    with torch.no_grad():
        return np.asarray(policy.sample(policy.encode(rows), noise).numpy())


def make_truth(agent: Agent, sft: Any, going_on: BatchPolicy, tasks: Sequence[str], per_task: int,
               repeats: int, report: Callable[[str], None]) -> dict[str, np.ndarray]:
    """Return inputs [S, ...], 'chunks' [S, C, H, d], 'steps' and 'success' [S, C, R]."""
    rng = np.random.default_rng(0)
    found: dict[str, list[Any]] = {}
    for task in tasks:
        seeds = list(evaluation_seeds(FIRST + per_task))[FIRST:]
        for episode in (one.episode for one in rollout(going_on, [task], seeds, record=True)):
            tick = int(rng.integers(4, min(max(6, len(episode.actions) - 8), LATEST)))
            text = embed(episode.instruction, int(agent.reference.config()['instruction_dim']))
            here = {'joints': episode.joints[tick], 'state': episode.state[tick],
                    'instruction': text}
            inputs = {name: torch.from_numpy(np.asarray(x, np.float32))[None]
                      for name, x in here.items()}
            own, past = sampled(agent.reference, inputs, 6, tick), episode.actions[:tick]
            chunks = np.stack([
                own[0], own[1], *(bent(one, scale, rng) for one, scale in
                                  zip(own[2:], (0.05, 0.05, 0.15, 0.15))),
                expert_chunk(task, episode.seed, past, agent.reference.horizon),
                sampled(sft, inputs, 1, tick)[0]])
            runs = [Branch(task, episode.seed, past, chunk, repeat)
                    for chunk in chunks for repeat in range(repeats)]
            run_lockstep(going_on, runs)
            shape = (len(chunks), repeats)
            row = {**here, 'chunks': chunks,
                   'steps': np.reshape([run.world.steps - run.began for run in runs], shape),
                   'success': np.reshape([run.success for run in runs], shape)}
            for name, value in row.items():
                found.setdefault(name, []).append(value)
        report(f'{task}: {len(found["steps"])} states')
    return {name: np.array(values) for name, values in found.items()}


def kept(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the truth of a file, made if it is not there."""
    if not path.is_file():
        truth = make()
        np.savez(path.with_suffix('.part.npz'), **truth)
        path.with_suffix('.part.npz').rename(path)
    with np.load(path) as data:
        return dict(data)


def outcomes(truth: dict[str, np.ndarray]) -> np.ndarray:
    """Return what came of every chunk [S, C, R]."""
    earned: np.ndarray = DECAY ** truth['steps'] * truth['success']
    return earned


def reliability(truth: dict[str, np.ndarray], chosen: np.ndarray) -> float:
    """Return the share of the variance between chunks' mean outcomes that is not chance."""
    earned = outcomes(truth)[:, chosen]
    between = earned.mean(2).var(1, ddof=1).mean()
    chance = earned.var(2, ddof=1).mean() / earned.shape[2]
    return float(1 - chance / between) if between > 0 else 0.0


def compare(agent: Agent, truth: dict[str, np.ndarray]) -> dict[str, Any]:
    """Compare Q with what came of the chunks, within states and across them."""
    states, chunks = truth['steps'].shape[:2]
    rows = {name: torch.from_numpy(truth[name]).float().repeat_interleave(chunks, 0)
            for name in ('joints', 'state', 'instruction')}
    q = agent.q_value(rows, torch.from_numpy(truth['chunks']).flatten(0, 1)).view(states, chunks)
    guess, mean = q.numpy(), outcomes(truth).mean(2)
    ranks = [spearmanr(a, b).statistic for a, b in zip(guess, mean) if np.ptp(b) > 1e-9]
    dq, dm = (x - x.mean(1, keepdims=True) for x in (guess, mean))
    kinds = {name: [round(float(x[:, k == KIND].mean()), 3) for x in (dq, dm)]
             for k, name in enumerate(KINDS)}
    return {
        'rank_within': float(np.mean(ranks)),
        'standard_error': float(np.std(ranks) / max(1, len(ranks)) ** 0.5),
        'correlation_within': float(np.corrcoef(dq.ravel(), dm.ravel())[0, 1]),
        'rank_across': float(spearmanr(guess.mean(1), mean.mean(1)).statistic),
        'outcome_of_best_q': float(mean[np.arange(states), guess.argmax(1)].mean()),
        'outcome_of_all': float(mean.mean()), 'outcome_in_hindsight': float(mean.max(1).mean()),
        'q_std_within': float(guess.std(1).mean()), 'true_std_within': float(mean.std(1).mean()),
        'q_and_outcome_by_kind': kinds}

# SPDX-License-Identifier: Apache-2.0
"""Does the critic know which action is better, and does the policy's tilt use it?

Takes an LWD run of the learning table (its newest stage, critic and all) and asks on held-out
starts, in process:

1. States along held-out episodes, 8 chunks of the reference from each, each executed and the
   episode finished by the policy: rank correlation of Q with what came of it, within a state.
2. The same policy, but every chunk is the best, a random, or the worst of N by Q; or a sample moved
   along (against) the critic's gradient. If best and worst are level, Q's opinion of actions is
   noise, and no tilt can help.
3. The same for critics trained anew on the same replay with one thing changed: the discount, or
   what a takeover means (`lwd_learner.takeovers`).
4. How far apart Q is over a state's chunks and over states; how much two heads' gradients agree;
   whether the gradient at what the policy would do points to what the person did instead.

Last line: one JSON object.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
import json
from pathlib import Path
import time
from typing import Any

from _table.plan import methods_of, PROFILES
from _table.work import Bench, load_episodes, load_policy
import numpy as np
from scipy.stats import spearmanr
import torch

from lwd_core.flow.inputs import observation_arrays
from lwd_core.flow.sampler import chunk_noise
from lwd_learner.algorithms.agent import Agent
from lwd_learner.algorithms.td import TdCritic
from lwd_learner.build import make_agent
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.online import STATE_FILE
from lwd_learner.replay import ReplayBuffer
from lwd_learner.sampler import AdaptiveSampler
from lwd_learner.state_io import load_state
from lwd_learner.takeovers import cut_at_takeovers
from lwd_sim.episode import SOURCE_POLICY
from lwd_sim.evaluate import evaluation_seeds, EXECUTE_STEPS, PolicyRun, rollout, run_lockstep

ROOT = Path(__file__).resolve().parents[1]
SOURCE_HUMAN = 2


class Chooser:
    """A batch policy that picks among N samples by the critic, or moves samples by its gradient."""

    def __init__(self, agent: Agent, how: str, count: int = 16, step: float = 0.2) -> None:
        self.agent, self.how, self.count, self.step = agent, how, count, step
        acting = agent.acting_policy()  # an EMA of the weights; its base is it without the tilt
        self.policy = (acting if how == 'policy' else getattr(acting, 'base', acting)).eval()

    def __call__(self, observations: list[Any], seeds: list[int]) -> np.ndarray:
        """Return chunks [B, H, d]."""
        batch = inputs_of(self.policy, observations)
        count = self.count if self.how in ('best', 'worst') else 1
        rows = {name: x.repeat_interleave(count, 0) for name, x in batch.items()}
        noise = torch.cat([chunk_noise(seed + 7919 * k, self.policy.horizon, self.policy.action_dim)
                           for seed in seeds for k in range(count)])
        with torch.no_grad():
            chunk = self.policy.sample(self.policy.encode(rows), noise)
        if self.how in ('best', 'worst'):
            q = self.agent.q_value(rows, chunk).view(-1, count)
            index = q.argmax(1) if self.how == 'best' else q.argmin(1)
            chunk = chunk.view(-1, count, *chunk.shape[1:])[torch.arange(len(q)), index]
        elif self.how in ('up', 'down'):
            sign = 1.0 if self.how == 'up' else -1.0
            x = self.policy.normalize_action(chunk)
            gradient = q_gradient(self.agent, batch, x)
            norm = gradient.flatten(1).norm(dim=1).clamp(min=1e-9)[:, None, None]
            chunk = self.policy.unnormalize_action(x + sign * self.step * gradient / norm)
        return np.asarray(chunk.numpy(), np.float32)


def inputs_of(policy: Any, observations: Sequence[Any]) -> dict[str, torch.Tensor]:
    """Return a batch of observations."""
    rows = [observation_arrays(item, policy.config(), None) for item in observations]
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


def q_gradient(agent: Agent, batch: dict[str, torch.Tensor], x: torch.Tensor,
               head: int | None = None) -> torch.Tensor:
    """Return the gradient [B, H, d] of Q (mean of heads, or one) at normalised chunks."""
    x = x.detach().requires_grad_(True)
    z = agent.target.encode(batch)
    values = agent.target.values(z, x, x.new_ones(x.shape[:2]))
    value = values.mean(0) if head is None else values[head]
    gradient, = torch.autograd.grad(value.sum(), x)
    return gradient


class Branch(PolicyRun):
    """An episode that repeats given actions, then executes a given chunk, then goes on."""

    def __init__(self, task: str, seed: int, past: np.ndarray, chunk: np.ndarray) -> None:
        super().__init__(task, seed, EXECUTE_STEPS, 1, record=False)
        self.given = list(np.concatenate((past, chunk[:EXECUTE_STEPS])))
        self.began = len(past)

    def wants_chunk(self) -> bool:
        """Ask for a chunk once what was given is used up."""
        return not self.given and super().wants_chunk()

    def step(self) -> None:
        """Execute what was given, or the policy's row."""
        if self.given:
            self.finish_step(self.given.pop(0), SOURCE_POLICY)
        else:
            super().step()


def branch_returns(agent: Agent, tasks: Sequence[str], starts: int, per_episode: int, chunks: int,
                   policy: Callable[..., np.ndarray]) -> dict[str, Any]:
    """Compare Q with what came of chunks from the same states."""
    seeds = list(evaluation_seeds(starts))
    episodes = [found.episode for found in rollout(policy, tasks, seeds, record=True)]
    rng = np.random.default_rng(0)
    runs: list[Branch] = []
    q: list[float] = []
    for episode in episodes:
        length = len(episode.actions)
        for tick in sorted(rng.choice(np.arange(4, max(6, length - 4)), per_episode)):
            batch = {'joints': episode.joints[tick], 'state': episode.state[tick]}
            row = {name: torch.from_numpy(x)[None].repeat(chunks, 1) for name, x in batch.items()}
            row['instruction'] = instruction(agent, episode.instruction).repeat(chunks, 1)
            generator = torch.Generator().manual_seed(int(tick))
            noise = torch.randn(chunks, agent.reference.horizon, agent.reference.action_dim,
                                generator=generator)
            with torch.no_grad():
                found = agent.reference.sample(agent.reference.encode(row), noise)
            q += agent.q_value(row, found).tolist()
            runs += [Branch(episode.task, episode.seed, episode.actions[:tick], one)
                     for one in found.numpy()]
    for begin in range(0, len(runs), 96):  # memory: every run is a world
        run_lockstep(policy, runs[begin:begin + 96])
        for run in runs[begin:begin + 96]:
            run.earned = 0.99 ** (run.world.steps - run.began) * run.success  # type: ignore
            del run.world
    earned = np.array([run.earned for run in runs]).reshape(-1, chunks)  # type: ignore
    guess = np.array(q).reshape(-1, chunks)
    success = np.array([run.success for run in runs]).reshape(-1, chunks)
    within = [spearmanr(a, b).statistic for a, b in zip(guess, earned) if np.ptp(b) > 1e-9]
    decided = [(a[b].mean() - a[~b].mean()) for a, b in zip(guess, success) if 0 < b.mean() < 1]
    top = success[np.arange(len(guess)), guess.argmax(1)].mean()
    return {
        'states': len(guess), 'chunks': chunks, 'states_decided_by_the_chunk': len(decided),
        'rank_correlation_within_states': float(np.mean(within)) if within else None,
        'standard_error': float(np.std(within) / max(1, len(within)) ** 0.5) if within else None,
        'rank_correlation_across_states': float(spearmanr(guess.mean(1), earned.mean(1)).statistic),
        'q_of_success_minus_failure_within': float(np.mean(decided)) if decided else None,
        'success_of_best_q': float(top), 'success_of_all': float(success.mean()),
        'success_of_best_in_hindsight': float(success.max(1).mean()),
        'q_std_within_states': float(guess.std(1).mean()),
        'q_std_across_states': float(guess.mean(1).std())}


def instruction(agent: Agent, text: str) -> torch.Tensor:
    """Return the instruction [1, E]."""
    from lwd_core.instruction import embed

    return torch.from_numpy(embed(text, int(agent.reference.config()['instruction_dim'])))[None]


def gradients(agent: Agent, buffer: ReplayBuffer, count: int) -> dict[str, float]:
    """Compare gradients: of the heads, and with what people did where they corrected."""
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    found = np.concatenate(list(buffer.all_starts(origins=(1,), sources=(SOURCE_HUMAN,)).values()))
    ticks = np.sort(rng.choice(found, min(count, len(found)), replace=False))
    batch = buffer.gather(ticks)
    batch = {name: x for name, x in batch.items() if torch.is_tensor(x)}
    noise = torch.randn(batch['action'].shape, generator=generator)
    with torch.no_grad():
        proposed = agent.reference.sample(agent.reference.encode(batch), noise)
    x = agent.reference.normalize_action(proposed)
    human = agent.reference.normalize_action(batch['action'])
    whole = batch['mask'].min(1).values > 0
    one, two = (q_gradient(agent, batch, x, head) for head in (0, 1))
    both = q_gradient(agent, batch, x)
    gap = agent.q_value(batch, batch['action']) - agent.q_value(batch, proposed)
    spread, moved, gain = tilt_size(agent, batch, noise)
    return {
        'cosine_of_two_heads': cosine(one, two, whole),
        'cosine_with_the_correction': cosine(both, human - x, whole),
        'q_human_above_policy_share': float((gap[whole] > 0).float().mean()),
        'q_human_minus_policy': float(gap[whole].mean()),
        'reference_spread': spread, 'tilt_displacement': moved, 'q_gain_of_the_tilt': gain,
        'gradient_norm': float(both.flatten(1).norm(dim=1).mean()),
        'correction_norm': float((human - x)[whole].flatten(1).norm(dim=1).mean())}


@torch.no_grad()
def tilt_size(agent: Agent, batch: dict[str, torch.Tensor], noise: torch.Tensor
              ) -> tuple[float, float, float]:
    """Return the reference's norm of spread about its mean, how far the tilt moves a sample from
    the same noise (both of normalised chunks), and what that adds to Q.
    """
    acting = agent.acting_policy().eval()
    base = getattr(acting, 'base', agent.reference)
    prefix = base.encode(batch)
    samples = torch.stack([base.normalize_action(base.sample(prefix, torch.randn_like(noise)))
                           for _ in range(8)])
    spread = (samples - samples.mean(0)).flatten(2).norm(dim=2).mean()
    plain, tilted = base.sample(prefix, noise), acting.sample(acting.encode(batch), noise)
    moved = base.normalize_action(tilted) - base.normalize_action(plain)
    gain = agent.q_value(batch, tilted) - agent.q_value(batch, plain)
    return float(spread), float(moved.flatten(1).norm(dim=1).mean()), float(gain.mean())


def cosine(a: torch.Tensor, b: torch.Tensor, chosen: torch.Tensor) -> float:
    """Return the mean cosine between rows."""
    return float(torch.cosine_similarity(a.flatten(1), b.flatten(1))[chosen].mean())


def load(bench: Bench, seed: int, method: str
         ) -> tuple[Agent, ReplayBuffer, list[EpisodeArrays]]:
    """Return the newest stage's agent and the replay it learned from."""
    stage = max(n for n in range(bench.profile.rounds + 1)
                if (bench.folder(seed, method, n) / STATE_FILE).is_file())
    config = bench.config(method)
    agent = make_agent(config, load_policy(bench.folder(seed, 'sft', 0)), seed)
    agent.load_state_dict(load_state(bench.folder(seed, method, stage) / STATE_FILE)['agent'])
    agent.target.eval()
    buffer = ReplayBuffer(config.horizon, config.replay.gamma)
    root = bench.out / 'data' / str(seed)
    episodes = load_episodes(root / 'offline')
    for number in range(1, stage + 1):
        episodes += load_episodes(root / method / str(number))
    for one in episodes:
        buffer.add(one)
    return agent, buffer, episodes


VARIANTS = {  # discount per control step, what a takeover means
    'as in the paper': (0.9999, 'ordinary'), 'discount .99': (0.99, 'ordinary'),
    'takeover fails': (0.9999, 'failure'), 'takeover fails, discount .99': (0.99, 'failure'),
}


def retrain(agent: Agent, buffer: ReplayBuffer, episodes: Sequence[EpisodeArrays], variant: str,
            steps: int) -> None:
    """Give the agent a critic trained anew on the same episodes under a variant."""
    gamma, takeover = VARIANTS[variant]
    other = ReplayBuffer(buffer.horizon, gamma)
    for one in episodes:
        for part in cut_at_takeovers(one) if takeover == 'failure' else [one]:
            if len(part) > 1:
                other.add(part)
    c = agent.config
    torch.manual_seed(0)
    td = TdCritic(agent.reference, c.value, c.critic, c.divl, c.iql)
    td.phase = 'online'
    sampler = AdaptiveSampler(seed=0)
    for _ in range(steps):
        drawn = sampler.draw(other, 64)
        batch = other.gather(drawn)
        metrics = td.learn(batch, agent.reference.normalize_action(batch['action']))
        sampler.record(batch['task'].numpy(), batch['origin'].numpy(),
                       metrics['sample_loss'].numpy())
    td.target.eval()
    agent.td, agent.critic, agent.target = td, td.critic, td.target


def success(agent: Agent, how: str, tasks: Sequence[str], starts: int) -> float:
    """Return the success on held-out starts of chunks chosen so."""
    found = rollout(Chooser(agent, how), tasks, list(evaluation_seeds(starts)))
    return float(np.mean([one.success for one in found]))


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--profile', choices=PROFILES, default='evening')
    parser.add_argument('--table', type=Path, help='folder of the learning table')
    parser.add_argument('--method', default='lwd')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--starts', type=int, default=12, help='held-out starts of each task')
    parser.add_argument('--retrain', type=int, default=0,
                        help='updates of critics trained anew; 0: none')
    parser.add_argument('--variants', default='', help='only these, comma separated by number')
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    profile = PROFILES[options.profile]
    out = options.table or ROOT / 'results' / 'learning_table' / options.profile
    bench = Bench(out, profile, out / 'recipe.yaml', lambda text: None)
    if options.method not in methods_of(profile):
        parser.error(f'--method: {options.method} is not one of {list(methods_of(profile))}')
    agent, buffer, episodes = load(bench, options.seed, options.method)
    told: dict[str, Any] = {'gradients': gradients(agent, buffer, 512)}
    print(json.dumps(told['gradients'], indent=1), flush=True)
    told['chosen'] = {}
    for how in ('policy', 'sample', 'best', 'worst', 'up', 'down'):
        told['chosen'][how] = success(agent, how, profile.tasks, options.starts)
        print(f'{how:8} {told["chosen"][how]:.3f}', flush=True)
    told['branches'] = branch_returns(agent, profile.tasks, max(2, options.starts // 3), 3, 8,
                                      Chooser(agent, 'sample'))
    print(json.dumps(told['branches'], indent=1))
    chosen, told['retrained'] = told['chosen'], {}
    numbers = [int(n) for n in options.variants.split(',') if n]
    for number, variant in enumerate(VARIANTS if options.retrain else ()):
        if numbers and number not in numbers:
            continue
        retrain(agent, buffer, episodes, variant, options.retrain)
        told['retrained'][variant] = {
            **gradients(agent, buffer, 512),
            **{how: success(agent, how, profile.tasks, options.starts)
               for how in ('best', 'worst', 'up')},
            **branch_returns(agent, profile.tasks, max(2, options.starts // 3), 3, 8,
                             Chooser(agent, 'sample'))}
        print(variant, json.dumps(told['retrained'][variant], indent=1), flush=True)
    print(json.dumps({
        'benchmark': 'tilt', 'value': chosen['best'] - chosen['worst'],
        'unit': 'success of the best by Q minus the worst', 'peer': chosen['sample'],
        'ratio': chosen['best'] / max(chosen['sample'], 1e-9), 'target': None, 'met': None,
        'seconds': round(time.monotonic() - began, 1), **told}))


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""Does the critic know which action is better, and does the policy's tilt use it?

Takes an LWD run of the learning table (its newest stage, critic and all) and asks, in process:

1. Does Q order chunks of one state by what comes of them? From states of held-out starts, chunks
   that differ on purpose, each executed and the episode finished a few times (`_tilt/truth.py`;
   kept in the table's folder, so that critics are compared on the same outcomes). The reliability
   says what part of the differences is real: a critic cannot be seen to know more.
2. The same for critics trained anew on the same replay with one thing changed, and with episodes
   added in which chunks were bent (`--explore`).
3. With `--chosen`: the policy with every chunk the best, a random, or the worst of 16 by Q, or
   moved along (against) its gradient; and how the gradients compare with what people did.

Last line: one JSON object; its value is the best critic's rank correlation within states.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import time
from typing import Any

from _table.plan import methods_of, PROFILES
from _table.work import Bench, load_episodes, load_policy
from _tilt.choose import gradients, success
from _tilt.critics import explored, retrain, VARIANTS
from _tilt.truth import compare, kept, KIND, make_truth, reliability
import numpy as np
import torch

from lwd_core.flow import ActingPolicy
from lwd_learner.algorithms.agent import Agent
from lwd_learner.build import make_agent
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.online import STATE_FILE
from lwd_learner.replay import ReplayBuffer
from lwd_learner.state_io import load_state
from lwd_sim.evaluate import batched

ROOT = Path(__file__).resolve().parents[1]


def load(bench: Bench, seed: int, method: str
         ) -> tuple[Agent, ReplayBuffer, list[EpisodeArrays]]:
    """Return the newest stage's agent and the replay it learned from."""
    stage = max(n for n in range(bench.profile.rounds + 1)
                if (bench.folder(seed, method, n) / STATE_FILE).is_file())
    config = bench.config(method)
    agent = make_agent(config, load_policy(bench.folder(seed, 'sft', 0)), seed)
    agent.load_state_dict(load_state(bench.folder(seed, method, stage) / STATE_FILE)['agent'])
    agent.target.eval()
    buffer = ReplayBuffer(config.horizon, config.replay.gamma, takeover=config.replay.takeover)
    root = bench.out / 'data' / str(seed)
    episodes = load_episodes(root / 'offline')
    for number in range(1, stage + 1):
        episodes += load_episodes(root / method / str(number))
    for one in episodes:
        buffer.add(one)
    return agent, buffer, episodes


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--profile', choices=PROFILES, default='evening')
    parser.add_argument('--table', type=Path, help='folder of the learning table')
    parser.add_argument('--method', default='lwd')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--states', type=int, default=6, help='states of each task')
    parser.add_argument('--repeats', type=int, default=2, help='episodes after each chunk')
    parser.add_argument('--updates', type=int, default=1000, help='of critics trained anew')
    parser.add_argument('--explore', type=int, default=0, help='episodes a task with bent chunks')
    parser.add_argument('--variants', default='', help='only these, comma separated by number')
    parser.add_argument('--chosen', type=int, default=0, help='held-out starts a task to act on')
    parser.add_argument('--full', action='store_true', help='12 states, 3 repeats, 3000 updates, '
                        '40 explored episodes a task, 12 starts')
    found = parser.parse_args()
    if found.full:
        found.states, found.repeats, found.updates = 12, 3, 3000
        found.explore, found.chosen = 40, 12
    return found


def main() -> None:
    """Ask and print."""
    args, began = options(), time.monotonic()
    torch.set_num_threads(1)
    profile = PROFILES[args.profile]
    out = args.table or ROOT / 'results' / 'learning_table' / args.profile
    bench = Bench(out, profile, out / 'recipe.yaml', lambda text: None)
    if args.method not in methods_of(profile):
        raise SystemExit(f'--method: {args.method} is not one of {list(methods_of(profile))}')
    agent, buffer, episodes = load(bench, args.seed, args.method)
    going_on = batched(ActingPolicy(agent.acting_policy().eval()))
    sft = load_policy(bench.folder(args.seed, 'sft', 0)).eval()
    truth = kept(out / f'truth-{args.method}-{args.seed}-{args.states}x{args.repeats}.npz',
                 lambda: make_truth(agent, sft, going_on, profile.tasks, args.states, args.repeats,
                                    lambda text: print(text, flush=True)))
    told: dict[str, Any] = {
        'states': len(truth['steps']), 'reliability': reliability(truth, KIND >= 0),
        'reliability_of_the_policy_s_own': reliability(truth, KIND == 0), 'critics': {}}
    print(f'{told["states"]} states x {len(KIND)} chunks: {told["reliability"]:.0%} of the '
          'differences between chunks are real', flush=True)
    if args.chosen:
        told['gradients'] = gradients(agent, buffer, 512)
        told['chosen'] = {how: success(agent, how, profile.tasks, args.chosen)
                          for how in ('policy', 'sample', 'best', 'worst', 'up', 'down')}
        print(json.dumps([told['gradients'], told['chosen']], indent=1), flush=True)
    row(told, 'of the run', compare(agent, truth))
    more = explored(going_on, profile.tasks, args.explore) if args.explore else []
    chosen = [int(n) for n in args.variants.split(',') if n]
    for number, (name, variant) in enumerate(VARIANTS.items()):
        for data, suffix in ((episodes, ''), (episodes + more, ' + explored'))[:1 + bool(more)]:
            if not chosen or number in chosen:
                retrain(agent, data, variant, args.updates)
                row(told, name + suffix, compare(agent, truth))
    ranks = {name: one['rank_within'] for name, one in told['critics'].items()}
    best, paper = max(ranks, key=lambda name: ranks[name]), ranks.get('as in the paper', np.nan)
    print(json.dumps({
        'benchmark': 'tilt', 'value': ranks[best], 'unit': 'rank correlation of Q with outcome '
        f'within a state ({best})', 'peer': paper, 'ratio': ranks[best] / paper if paper else None,
        'target': None, 'met': None, 'seconds': round(time.monotonic() - began, 1), **told}))


def row(told: dict[str, Any], name: str, found: dict[str, Any]) -> None:
    """Keep and print one critic's figures."""
    told['critics'][name] = found
    kinds = '  '.join(f'{kind} {a:+.2f} ({b:+.2f})'
                      for kind, (a, b) in found['q_and_outcome_by_kind'].items())
    print(f'{name:50} rank {found["rank_within"]:+.2f} +- {found["standard_error"]:.2f}, '
          f'r {found["correlation_within"]:+.2f}, across {found["rank_across"]:+.2f} | {kinds}',
          flush=True)


if __name__ == '__main__':
    main()

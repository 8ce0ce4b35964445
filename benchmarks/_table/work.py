# SPDX-License-Identifier: Apache-2.0
"""Do one piece: make data, train offline, deploy and train, or evaluate. All in process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from _table.plan import HORIZON, METHODS, Piece, Profile
from _table.seen import features_of, TRUNK
from lwd_core.flow import ActingPolicy, make_policy, Policy
from lwd_core.flow.trunk import load_trunk
from lwd_learner.build import fill_buffer, fresh_policy, make_agent
from lwd_learner.config import LearnerConfig
from lwd_learner.convert import from_rollout
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.imitation import fit_imitation
from lwd_learner.online import OnlineLearner
from lwd_learner.state_io import load_state, save_state
from lwd_learner.status import compare_corrections
from lwd_sim.collect import collect, DEMONSTRATION_SEED
from lwd_sim.evaluate import batched, evaluation_seeds, rollout
from lwd_sim.interventions import intervened_rollout, ONLINE_SEED
from lwd_sim.suite import SUITE
from lwd_sim.suite_data import mixture

Report = Callable[[str], None]
ROLLOUT_SEED = 50_000
STRIDE = 5_000  # between the start seeds of runs with different seeds
BLOCK = 12  # starts of every task at once
POLICY_FILE = 'policy.safetensors'


class Bench:
    """One run's folder and budget."""

    def __init__(self, out: Path, profile: Profile, recipe: Path, report: Report) -> None:
        self.out, self.profile, self.report = out, profile, report
        self.recipe: dict[str, Any] = yaml.safe_load(recipe.read_text())
        self.pixels = profile.observation == 'pixels'
        self.trunk = load_trunk(TRUNK) if self.pixels else None

    def do(self, piece: Piece) -> dict[str, Any]:
        """Return the piece's figures; what later pieces need is in its folder."""
        began = time.process_time()
        figures = {'mixture': self._mixture, 'data': self._data, 'offline': self._offline,
                   'round': self._round, 'evaluate': self._evaluate}[piece.kind](piece)
        return {**figures, 'cpu': time.process_time() - began}

    def folder(self, seed: int, method: str, number: int) -> Path:
        """Return where a trained stage lies; 0 is what the offline phase left."""
        method = method if METHODS[method].offline or number else 'sft'
        return self.out / 'runs' / str(seed) / method / str(number)

    # -- pieces

    def _mixture(self, piece: Piece) -> dict[str, Any]:
        """One task's demonstrations, and the rest of the paper's mix by robot time."""
        kinds: dict[str, list[EpisodeArrays]] = {'demonstrations': [], 'others': []}
        for made in mixture(piece.method, self.profile.demonstrations):
            kind = 'demonstrations' if made.kind == 'demonstration' else 'others'
            kinds[kind] += self.arrays_of([made.episode], made.kind, 'offline')
            self.report(f'{piece.method}: {len(kinds[kind])} {kind}')
        for kind, found in kinds.items():
            save_episodes(self.out / 'data' / 'mixture' / piece.method / kind, found)
        return {kind: len(found) for kind, found in kinds.items()}

    def _data(self, piece: Piece) -> dict[str, Any]:
        """Demonstrations, the SFT policy, its autonomous rollouts."""
        profile, seed = self.profile, piece.seed
        config = self.config('sft')
        demos: list[EpisodeArrays] = []
        others: list[EpisodeArrays] = []
        for task in profile.tasks:
            if task not in SUITE:
                found = collect(task, profile.demonstrations, DEMONSTRATION_SEED + seed * STRIDE)
                demos += self.arrays_of(found, 'demo', 'offline')
                continue
            root = self.out / 'data' / 'mixture' / task
            demos += load_episodes(root / 'demonstrations')
            others += load_episodes(root / 'others')
        policy = fresh_policy(config, demos, seed)
        agent = make_agent(config, policy, seed, {'algorithm': 'bc'})
        settings = config.override(sft={'steps': profile.sft_steps}).sft
        metrics = fit_imitation(agent, fill_buffer(config, demos, 'successes'), settings, seed,
                                lambda share, text: self.report(text))
        save_policy(self.folder(seed, 'sft', 0), agent.acting_policy())
        seeds = range(ROLLOUT_SEED + seed * STRIDE, ROLLOUT_SEED + seed * STRIDE + profile.rollouts)
        results = self._roll(agent.acting_policy(), list(seeds), record=True)
        rollouts = self.arrays_of([result.episode for result in results], 'rollout', 'offline')
        save_episodes(self.out / 'data' / str(seed) / 'offline', demos + others + rollouts)
        return {**metrics, 'demonstrations': len(demos), 'rollouts': len(rollouts),
                'others': len(others), 'demonstration_steps': sum(map(len, demos)),
                'rollout_success': float(np.mean([one.success for one in rollouts])),
                'robot_steps': sum(map(len, demos + others + rollouts))}

    def _offline(self, piece: Piece) -> dict[str, Any]:
        learner = self._learner(piece, load_policy(self.folder(piece.seed, 'sft', 0)))
        for one in load_episodes(self.out / 'data' / str(piece.seed) / 'offline'):
            learner.add(one)
        self._train(learner, self.profile.offline_steps)
        return self._leave(piece, learner)

    def _round(self, piece: Piece) -> dict[str, Any]:
        """Deploy the newest policy with an operator, then learn from all there is."""
        profile, seed = self.profile, piece.seed
        before = self.folder(seed, piece.method, piece.round - 1)
        policy = load_policy(before)
        learner = self._learner(piece, load_policy(self.folder(seed, 'sft', 0)))
        root = self.out / 'data' / str(seed)
        for one in load_episodes(root / 'offline'):
            learner.add(one)
        if (before / 'state.safetensors').is_file():
            learner.work_dir = before
            learner.resume()
            learner.work_dir = self.folder(seed, piece.method, piece.round)
        for number in range(1, piece.round):
            for one in load_episodes(root / piece.method / str(number)):
                learner.add(one)
        first = ONLINE_SEED + seed * STRIDE + (piece.round - 1) * profile.round_episodes
        acting = batched(self.acting(policy))
        made = []
        for begin in range(first, first + profile.round_episodes, BLOCK):
            seeds = range(begin, min(begin + BLOCK, first + profile.round_episodes))
            watched = round(profile.watched * len(seeds))
            made += intervened_rollout(acting, profile.tasks, seeds[:watched], pixels=self.pixels)
            made += [one.episode for one in rollout(acting, profile.tasks, seeds[watched:],
                                                    record=True, pixels=self.pixels)]
            self.report(f'deployed {len(made)} episodes')
        fresh = self.arrays_of(made, f'round{piece.round}', 'online')
        save_episodes(root / piece.method / str(piece.round), fresh)
        for one in fresh:
            learner.add(one)
        self._train(learner, profile.round_steps)
        human = sum(int((one.source == 2).sum()) for one in fresh)
        steps = sum(map(len, fresh))
        return {**self._leave(piece, learner), 'robot_steps': steps, 'human_share': human / steps,
                'deployed_alone': float(np.mean([one.takeovers == 0 for one in made])),
                'takeovers': float(np.mean([one.takeovers for one in made]))}

    def _evaluate(self, piece: Piece) -> dict[str, Any]:
        profile = self.profile
        last = piece.round in (0, profile.rounds)
        count = profile.starts if last else profile.round_starts
        policy = load_policy(self.folder(piece.seed, piece.method, piece.round))
        results = self._roll(policy, list(evaluation_seeds(count)))
        return {'rows': [[result.task, result.seed, result.score, result.steps]
                         for result in results]}

    # -- parts

    def config(self, method: str) -> LearnerConfig:
        """Return the shared recipe with the method's changes."""
        config = LearnerConfig.from_dict(self.recipe)
        changes, agent = METHODS[method], dict(config.agent)
        for name, value in changes.agent.items():
            agent[name] = {**agent.get(name, {}), **value} if isinstance(value, Mapping) else value
        return config.override(
            agent=agent, replay=changes.replay, policy={'horizon': HORIZON},
            learning={'offline_steps': max(1, self.profile.offline_steps), 'tensorboard': False})

    def acting(self, policy: Policy) -> ActingPolicy:
        """Return the policy with what it sees through."""
        return ActingPolicy(policy, trunk=self.trunk)

    def arrays_of(self, episodes: Sequence[Any], name: str, origin: str) -> list[EpisodeArrays]:
        """Turn simulated episodes into the learner's; policies that see get features, no state."""
        return [from_rollout(
            one, f'{name}-{one.task}-{one.seed}', origin,
            features=None if self.trunk is None else features_of(one, self.trunk))
            for one in episodes]

    def _learner(self, piece: Piece, policy: Policy) -> OnlineLearner:
        config = self.config(piece.method)
        publisher: Any = SimpleNamespace(parent=None, published=[])
        return OnlineLearner(make_agent(config, policy, piece.seed), config, publisher,
                             self.folder(piece.seed, piece.method, piece.round), piece.seed)

    def _train(self, learner: OnlineLearner, steps: int) -> None:
        """Take `steps` updates; the imitation rate falls along them, for every method alike."""
        for done in range(steps):
            learner.agent.anneal(done / steps)
            if learner.step() is None:
                raise RuntimeError(f'stopped after {done} updates: {learner.reason}')
            if done % 20 == 0:
                self.report(f'update {done} of {steps}')

    def _leave(self, piece: Piece, learner: OnlineLearner) -> dict[str, Any]:
        folder = self.folder(piece.seed, piece.method, piece.round)
        learner.save()
        save_policy(folder, learner.agent.acting_policy())
        return {'metrics': {**learner.meter.means(), 'updates_per_second': learner.meter.rate(),
                            'data_wait_share': learner.meter.wait_share(),
                            **compare_corrections(learner.agent, learner.buffer)},
                'updates': learner.step_count}

    def _roll(self, policy: Policy, seeds: list[int], record: bool = False) -> list[Any]:
        results: list[Any] = []
        acting = batched(self.acting(policy))
        for begin in range(0, len(seeds), BLOCK):
            results += rollout(acting, self.profile.tasks, seeds[begin:begin + BLOCK],
                               record=record, pixels=self.pixels)
            self.report(f'{len(results)} episodes')
        return results


def save_episodes(folder: Path, episodes: Sequence[EpisodeArrays]) -> None:
    """Write episodes so that they are read in this order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(episodes):
        one.save(folder / f'{number:05d}.safetensors')


def load_episodes(folder: Path) -> list[EpisodeArrays]:
    """Read what `save_episodes` wrote."""
    return [EpisodeArrays.load(path) for path in sorted(folder.glob('*.safetensors'))]


def save_policy(folder: Path, policy: Policy) -> None:
    """Write a policy that `load_policy` reads."""
    save_state(folder / POLICY_FILE, {'config': policy.config(),
                                      'normalization': policy.normalization(),
                                      'weights': dict(policy.state_dict())})


def load_policy(folder: Path) -> Policy:
    """Read a policy."""
    state = load_state(folder / POLICY_FILE)
    policy = make_policy(state['config'], state['normalization'])
    policy.load_state_dict(state['weights'])
    return policy

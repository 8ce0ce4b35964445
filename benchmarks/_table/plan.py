# SPDX-License-Identifier: Apache-2.0
"""What the table consists of: methods, budgets, and the pieces of work with what each needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from lwd_sim.suite import SUITE
from lwd_sim.tasks import get_task

HORIZON = 16  # control steps in a chunk
SUITE_SHORT = ('restock_item', 'correct_item', 'door_place', 'handover_place')


@dataclass(frozen=True)
class Method:
    """One row. `agent` and `replay` are laid over the recipe that all rows share."""

    title: str
    agent: dict[str, Any] = field(default_factory=dict)
    replay: dict[str, Any] = field(default_factory=dict)
    offline: bool = True  # trains on the offline data
    online: bool = False  # deploys itself and goes on
    ablation: bool = False
    long_only: bool = False  # says something only where a task is long


LWD = {'algorithm': 'lwd'}
METHODS = {
    'sft': Method('SFT', offline=False),
    'filtered_bc': Method('filtered BC', {'algorithm': 'filtered_bc'}),
    'iql': Method('IQL, weighted cloning', {'algorithm': 'iql'}),
    'hg_dagger': Method('HG-DAgger', {'algorithm': 'dagger'}, offline=False, online=True),
    # as many updates as those that learn offline first: what HG-DAgger lacks otherwise
    'hg_dagger_longer': Method('HG-DAgger after an offline phase', {'algorithm': 'dagger'},
                               online=True, ablation=True),
    'recap': Method('RECAP', {'algorithm': 'recap'}, online=True),
    'lwd': Method('LWD', LWD, online=True),
    # what benchmarks/tilt.py found to order a state's chunks: time lost counts on the tasks' scale,
    # Q sees the rows that are executed, as distances from where the joints are; a tilt to match
    'lwd_near': Method('LWD, discount .99, relative Q', {
        **LWD, 'critic': {'steps': 8, 'action': 'relative', 'action_gain': 4.0},
        'divl': {'bound': True}, 'qam': {'beta': 20.0}}, {'gamma': 0.99}, online=True),
    'lwd_no_tilt': Method('LWD, beta = 0', {**LWD, 'qam': {'beta': 0.0}}, online=True,
                          ablation=True),
    'lwd_expectile': Method('LWD, expectile V', {**LWD, 'value': 'expectile'}, online=True,
                            ablation=True),
    'lwd_constant_tau': Method('LWD, constant tau', {**LWD, 'divl': {'alpha': 0.0}},
                               ablation=True),
    'lwd_n1': Method('LWD, n = 1', LWD, {'n_step_offline': 1}, ablation=True, long_only=True),
}


@dataclass(frozen=True)
class Profile:
    """A budget; the same for every method. Episodes are for each task."""

    tasks: tuple[str, ...]
    seeds: int
    demonstrations: int  # tasks of the suite bring the rest of the paper's mix with them
    sft_steps: int
    rollouts: int  # autonomous ones of the SFT policy, for the offline buffer
    offline_steps: int
    rounds: int  # of deployment, corrected by the operator
    round_episodes: int
    round_steps: int  # updates after each round
    starts: int  # held-out ones, at the end
    round_starts: int  # of the curve, after each round but the last
    methods: tuple[str, ...] = tuple(METHODS)
    watched: float = 1.0  # share of the deployed episodes that an operator watches and corrects
    observation: str = 'state'  # or 'pixels', through a frozen trunk of the suite's short tasks


# what one process does within an evening beside other work
REDUCED = ('sft', 'filtered_bc', 'iql', 'hg_dagger', 'recap', 'lwd', 'lwd_near')
PROFILES = {
    'short': Profile(('place', 'crate'), 1, 4, 500, 6, 150, 1, 6, 150, 10, 0),
    'evening': Profile(('place', 'crate', 'handover'), 3, 2, 1000, 20, 1200, 3, 20, 800, 30, 10),
    'suite_short': Profile(SUITE_SHORT, 3, 8, 1000, 6, 1000, 2, 12, 500, 20, 0,
                           REDUCED, 0.5),
    'suite_few': Profile(SUITE_SHORT, 2, 3, 500, 10, 1000, 3, 12, 500, 20, 0,
                         ('sft', 'hg_dagger', 'lwd', 'lwd_near'), 0.5),
    # all eight tasks and every row within an evening of two cores
    'suite': Profile(tuple(SUITE), 3, 20, 3000, 6, 2000, 2, 10, 1000, 25, 0, watched=0.5),
    'suite_pixels': Profile(SUITE_SHORT, 3, 8, 1000, 6, 1000, 2, 12, 500, 20, 0,
                            ('sft', 'hg_dagger', 'lwd', 'lwd_near'), 0.5, 'pixels'),
    'full': Profile(tuple(SUITE), 3, 25, 6000, 10, 4000, 4, 16, 1500, 50, 10, watched=0.5),
}


@dataclass(frozen=True)
class Piece:
    """One resumable piece: its name in the ledger, what it does, what must be done before."""

    name: str
    kind: str  # 'mixture' | 'data' | 'offline' | 'round' | 'evaluate'
    seed: int
    method: str = ''  # of 'mixture': the task
    round: int = 0  # 0: after the offline phase
    needs: tuple[str, ...] = ()


def is_long(task: str) -> bool:
    """Say whether a task counts as long: it has scored sub-steps."""
    return bool(get_task(task).stages)


def methods_of(profile: Profile) -> dict[str, Method]:
    """Return the rows of a profile."""
    long = any(is_long(task) for task in profile.tasks)
    return {name: METHODS[name] for name in profile.methods
            if long or not METHODS[name].long_only}


def pieces(profile: Profile) -> list[Piece]:
    """Return all pieces, in an order in which one process could do them."""
    found = [Piece(f'mixture/{task}', 'mixture', 0, task)  # the same for every seed
             for task in profile.tasks if task in SUITE]
    mixtures = tuple(piece.name for piece in found)
    for seed in range(profile.seeds):
        data = Piece(f'{seed}/data', 'data', seed, needs=mixtures)
        found += [data, Piece(f'{seed}/sft/evaluate0', 'evaluate', seed, 'sft', 0, (data.name,))]
        for name, method in methods_of(profile).items():
            before = data.name
            if method.offline:
                train = Piece(f'{seed}/{name}/offline', 'offline', seed, name, 0, (before,))
                before = train.name
                found.append(train)
                if not (method.ablation and method.online):  # judged where its row is: at the end
                    found.append(_evaluate(train))
            if not method.online:
                continue
            for number in range(1, profile.rounds + 1):
                train = Piece(f'{seed}/{name}/round{number}', 'round', seed, name, number,
                              (before,))
                before = train.name
                found.append(train)
                if number == profile.rounds or profile.round_starts:
                    found.append(_evaluate(train))
    return found


def _evaluate(of: Piece) -> Piece:
    return replace(of, name=f'{of.seed}/{of.method}/evaluate{of.round}', kind='evaluate',
                   needs=(of.name,))

# SPDX-License-Identifier: Apache-2.0
"""What a demonstration does and for how long: config/demo.yaml with the command line over it."""

from collections.abc import Mapping
from dataclasses import dataclass
import os
from pathlib import Path
from typing import Any

import yaml

from lwd_bringup.paths import config_dir

OBSERVATIONS = ('state', 'pixels')


class DemoConfigError(ValueError):
    """A setting that was refused; the message names file, key, value and bound."""


@dataclass(frozen=True)
class DemoConfig:
    """One run. Times in s of wall time."""

    out: Path
    seed: int
    quick: bool
    observation: str
    tasks: tuple[str, ...]
    robots: int
    demonstrations: int
    demonstrate_s: float
    sft_steps: int
    sft_s: float
    deploy_s: float
    min_checkpoints: int
    dagger_steps: int
    dagger_s: float
    evaluate_s: float
    evaluate_episodes: int
    evaluate_processes: int
    startup_s: float
    demonstrate_seed: int
    deploy_seed: int
    evaluate_seed: int
    seed_stride: int
    learner: Mapping[str, Any]
    domain: int

    @property
    def store(self) -> Path:
        """Return the folder where robots and learner meet."""
        return self.out / 'store'

    @property
    def run_dir(self) -> Path:
        """Return the folder of logs, parameters and intermediate results."""
        return self.out / 'run'

    @property
    def learner_dir(self) -> Path:
        """Return the learner's own folder."""
        return self.out / 'learner'

    @property
    def robot_names(self) -> tuple[str, ...]:
        """Return the names that the graph gives the robots."""
        return tuple(f'robot{index + 1}' for index in range(self.robots))


def load_demo_config(*, quick: bool = False, observation: str | None = None, seed: int = 0,
                     minutes: float | None = None, tasks: list[str] | None = None,
                     out: Path | None = None, domain: int | None = None,
                     path: Path | None = None) -> DemoConfig:
    """Read config/demo.yaml, lay the command line over it and validate."""
    path = path or config_dir() / 'demo.yaml'
    layers = yaml.safe_load(path.read_text())
    values = layers['demo']
    observation = observation or (layers['quick'] if quick else values)['observation']
    if observation not in OBSERVATIONS:
        raise DemoConfigError(f"observation: '{observation}' is not one of state, pixels")
    for name, wanted in (('pixels', observation == 'pixels'), ('quick', quick)):
        if wanted:
            values = _merge(values, layers[name], f'{path}: {name}')
    scale = minutes * 60.0 / _total_seconds(values) if minutes else 1.0
    return _build(values, scale, path, observation, tasks, seed, quick, out, domain)


def _build(values: Mapping[str, Any], scale: float, path: Path, observation: str,
           tasks: list[str] | None, seed: int, quick: bool, out: Path | None,
           domain: int | None) -> DemoConfig:
    stride = int(values['seed_stride'])
    seeds = values['first_seeds']
    robots = int(_positive(values, 'robots', path))
    # Every run has starts of its own; held-out starts are the same for all, so runs compare.
    shift = seed * stride * robots
    return DemoConfig(
        out=(out or Path('results') / 'demo').resolve(), seed=seed, quick=quick,
        observation=observation, tasks=_tasks(tasks or values['tasks']), robots=robots,
        demonstrations=int(_positive(values, 'demonstrate.episodes', path)),
        demonstrate_s=scale * _positive(values, 'demonstrate.seconds', path),
        sft_steps=int(_positive(values, 'sft.steps', path)),
        sft_s=scale * _positive(values, 'sft.seconds', path),
        deploy_s=scale * _positive(values, 'deploy.seconds', path),
        min_checkpoints=int(values['deploy']['min_checkpoints']),
        dagger_steps=int(_positive(values, 'dagger.steps', path)),
        dagger_s=scale * _positive(values, 'dagger.seconds', path),
        evaluate_s=scale * _positive(values, 'evaluate.seconds', path),
        evaluate_episodes=int(_positive(values, 'evaluate.episodes', path)),
        evaluate_processes=int(_positive(values, 'evaluate.processes', path)),
        startup_s=_positive(values, 'startup_seconds', path),
        demonstrate_seed=seeds['demonstrate'] + shift, deploy_seed=seeds['deploy'] + shift,
        evaluate_seed=seeds['evaluate'], seed_stride=stride, learner=values['learner'],
        domain=free_domain() if domain is None else domain,
    )


def free_domain() -> int:
    """Return the ROS domain to use: the environment's, else one that depends on our process."""
    chosen = os.environ.get('ROS_DOMAIN_ID')
    return int(chosen) if chosen else 1 + os.getpid() % 100


def _merge(base: Mapping[str, Any], over: Mapping[str, Any], where: str) -> dict[str, Any]:
    unknown = sorted(set(over) - set(base))
    if unknown:
        raise DemoConfigError(f"{where}: unknown key '{unknown[0]}'; known: {', '.join(base)}")
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and key != 'learner'
        merged[key] = _merge(base[key], value, f'{where}.{key}') if nested else value
    return merged


def _positive(values: Mapping[str, Any], key: str, path: Path) -> float:
    value: Any = values
    for part in key.split('.'):
        value = value[part]
    if not isinstance(value, int | float) or not value > 0:
        raise DemoConfigError(f'{path}: {key}: {value!r} is not above 0')
    return value


def _total_seconds(values: Mapping[str, Any]) -> float:
    phases = [values[name]['seconds'] for name in ('demonstrate', 'sft', 'deploy', 'dagger')]
    return sum(phases) + 3 * values['evaluate']['seconds']


def _tasks(wanted: list[str]) -> tuple[str, ...]:
    from lwd_core.task import load_tasks
    known = load_tasks(config_dir() / 'tasks' / 'sim.yaml')
    for task in wanted:
        if task not in known:
            raise DemoConfigError(f"task '{task}' is not one of {', '.join(known)}")
    return tuple(wanted)

# SPDX-License-Identifier: Apache-2.0
"""All settings of learning, in one frozen object read from one YAML file.

The sections `policy` (arguments of `make_policy`) and `agent` (of the algorithms' AgentConfig) are
validated where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lwd_core.instruction import DIM as INSTRUCTION_DIM
from lwd_core.params import build, param, ParamError
from lwd_core.spec import load_yaml
from lwd_learner.sampler import SamplerConfig
from lwd_learner.takeovers import TAKEOVERS

PASSED_ON = ('policy', 'agent')


@dataclass(frozen=True)
class ReplayConfig:
    """How recordings become transitions."""

    gamma: float = param(0.9999, 'discount per control step', lower=0.5, upper=1.0)
    n_step_offline: int = param(10, 'chunks in a return, offline, of a long-horizon task',
                                lower=1, upper=1000)
    n_step_short: int = param(1, 'the same of other tasks', lower=1, upper=1000)
    long_chunks: float = param(30.0, 'a task is long-horizon when its successes take so many '
                               'chunks on average', lower=0.0)
    n_step_online: int = param(1, 'chunks in a return, online', lower=1, upper=1000)
    failure_terminal: bool = param(
        True, 'a labelled failure ends with value 0; else it bootstraps from its last observation')
    time_limit_terminal: bool = param(
        True, 'running out of time counts as failure with value 0; else as a truncated episode')
    takeover: str = param(
        'ordinary', 'what a takeover says about what the policy did before it: ordinary (nothing, '
        'the paper), cut (its chunk ends there and bootstraps), failure (it ends with value 0)',
        choices=TAKEOVERS)
    min_ticks: int = param(5, 'an episode with fewer is rejected: it ended before it began',
                           lower=2, upper=100_000)
    on_disk: bool = param(False, 'keep the arrays in memory-mapped files of the work folder')


@dataclass(frozen=True)
class ImitationConfig:
    """Behaviour cloning: SFT and HG-DAgger. Stops at `steps` or `seconds`, whichever is first."""

    steps: int = param(6000, 'updates', lower=1, upper=100_000_000)
    seconds: float = param(0.0, 'time budget, 0: none', unit='s', lower=0.0)
    batch: int = param(256, 'transitions in an update', lower=1, upper=65536)


@dataclass(frozen=True)
class LearningConfig:
    """The offline and the online phase."""

    batch: int = param(256, 'transitions in an update', lower=1, upper=65536)
    offline_steps: int = param(0, 'updates on the offline buffer before going online',
                               lower=0, upper=100_000_000)
    offline_seconds: float = param(0.0, 'time budget of the offline phase, 0: none', unit='s',
                                   lower=0.0)
    min_online_episodes: int = param(1, 'online episodes before the online phase begins',
                                     lower=1, upper=1_000_000)
    imitation_batch: int = param(256, 'transitions beside each update whose actions may be '
                                 'imitated; 0: none', lower=0, upper=65536)
    anneal_after: float = param(0.0, 'online time before the imitation rate begins to fall',
                                unit='s', lower=0.0)
    anneal_seconds: float = param(0.0, 'time along which it falls to 2 %, for a deployment that '
                                  'ends; 0: never, the fleet works on', unit='s', lower=0.0)
    updates_per_transition: float = param(
        0.0, 'pause when online updates exceed this many an online transition, 0: never',
        lower=0.0, upper=1e6)
    max_value_loss: float = param(50.0, 'stop when the cross entropy of V exceeds this',
                                  unit='nat', lower=0.1)
    max_q: float = param(10.0, 'stop when a mean |Q| exceeds this: it lives in [0, 1]', lower=1.1)
    metrics_every: int = param(10, 'updates between rows of metrics.jsonl', lower=1,
                               upper=1_000_000)
    tensorboard: bool = param(True, 'write TensorBoard events beside metrics.jsonl')


@dataclass(frozen=True)
class PublishConfig:
    """When weights become checkpoints."""

    every_steps: int = param(50, 'learner steps between checkpoints', lower=1, upper=100_000_000)
    every_seconds: float = param(0.0, 'least time between checkpoints', unit='s', lower=0.0)
    channel: str = param('stable', 'channel that follows the newest checkpoint')
    keep: int = param(20, 'checkpoints kept in the store beside channels and parents; 0: all',
                      lower=0, upper=1_000_000)
    save_state_seconds: float = param(60.0, 'time between saves of the resume state', unit='s',
                                      lower=1.0)


@dataclass(frozen=True)
class LearnerConfig:
    """Everything. `policy` and `agent` go to their owners as they are."""

    policy: dict[str, Any] = field(default_factory=lambda: {'horizon': 16})
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    sft: ImitationConfig = field(default_factory=ImitationConfig)
    dagger: ImitationConfig = field(default_factory=ImitationConfig)
    learning: LearningConfig = field(default_factory=LearningConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)
    agent: dict[str, Any] = field(default_factory=dict)

    @property
    def horizon(self) -> int:
        """Return the control steps in a chunk."""
        return int(self.policy['horizon'])

    @property
    def instruction_dim(self) -> int:
        """Return the size of the instruction vector."""
        return int(self.policy.get('instruction_dim', INSTRUCTION_DIM))

    def __post_init__(self) -> None:
        """Check the one key of `policy` that replay needs too."""
        horizon = self.policy.get('horizon')
        if not isinstance(horizon, int) or not 1 <= horizon <= 1024:
            raise ParamError(f'policy: horizon: {horizon!r} refused, must be 1 to 1024')

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = 'learner') -> LearnerConfig:
        """Validate plain data; every refusal names section, key, value and bound."""
        sections = {
            'replay': ReplayConfig, 'sampler': SamplerConfig, 'sft': ImitationConfig,
            'dagger': ImitationConfig, 'learning': LearningConfig, 'publish': PublishConfig,
        }
        built: dict[str, Any] = {}
        for name, value in data.items():
            if name not in sections and name not in PASSED_ON:
                known = ', '.join([*sections, *PASSED_ON])
                raise ParamError(f'{where}: unknown section {name!r}; known: {known}')
            if not isinstance(value, Mapping):
                raise ParamError(f'{where}: {name}: is {value!r}, must be a mapping of keys')
            try:
                built[name] = (dict(value) if name in PASSED_ON
                               else build(sections[name], value))
            except ParamError as error:
                raise ParamError(f'{where}: {name}: {error}') from None
        return cls(**built)

    @classmethod
    def from_yaml(cls, path: str | Path | None) -> LearnerConfig:
        """Read a file; None or '' gives the defaults."""
        return cls() if not path else cls.from_dict(load_yaml(path), str(path))

    def override(self, **sections: Mapping[str, Any]) -> LearnerConfig:
        """Return a copy with single keys replaced: `override(sft={'steps': 10})`."""
        changed: dict[str, Any] = {}
        for name, values in sections.items():
            current = getattr(self, name)
            if name in PASSED_ON:
                changed[name] = {**current, **values}
                continue
            known = {key: getattr(current, key) for key in current.__dataclass_fields__}
            changed[name] = build(type(current), {**known, **values})
        return replace(self, **changed)

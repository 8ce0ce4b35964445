# SPDX-License-Identifier: Apache-2.0
"""Every constant and switch of the algorithms in one validated object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

from lwd_learner.algorithms import dagger, filtered_bc
from lwd_learner.algorithms.bc import BcConfig
from lwd_learner.algorithms.critics import CriticConfig
from lwd_learner.algorithms.divl import DivlConfig
from lwd_learner.algorithms.iql import IqlConfig
from lwd_learner.algorithms.qam import QamConfig
from lwd_learner.algorithms.recap import RecapConfig
from lwd_learner.algorithms.td import VALUES

CLONING = ('bc', 'filtered_bc', 'dagger')
ALGORITHMS = ('lwd', *CLONING, 'recap', 'iql')
REFERENCES = ('frozen', 'tracks')
FORMS = ('copy', 'residual')
# what an algorithm's definition says may be cloned; the others take `selection`
SELECTIONS = {'filtered_bc': filtered_bc.SELECTION, 'dagger': dagger.SELECTION, 'recap': 'all',
              'iql': 'all'}
T = TypeVar('T')


@dataclass(frozen=True)
class AgentConfig:
    """What an Agent does; defaults are the paper's."""

    algorithm: str = 'lwd'  # 'bc' clones what `selection` says; or a peer by its name
    value: str = 'divl'  # 'expectile': the scalar ablation
    reference: str = 'frozen'  # 'tracks': the reference keeps cloning the imitation data
    selection: str = dagger.SELECTION  # imitation data (dagger.imitation_ticks)
    form: str = 'copy'  # 'residual': policy = reference + tilt, so it follows a tracked reference
    tilt_hidden: int = 256
    tilt_layers: int = 2
    actor_every: int = 1  # critic steps for one QAM step
    actor_batch: int = 0  # states in a QAM step; 0: the whole batch
    actor_micro: int = 0  # states at a time in it: memory grows with them; 0: all
    actor_start: int = 0  # critic steps before the first QAM step
    acting_ema: float = 0.0  # 0: act with the newest weights; else their EMA at this rate
    critic: CriticConfig = field(default_factory=CriticConfig)
    divl: DivlConfig = field(default_factory=DivlConfig)
    iql: IqlConfig = field(default_factory=IqlConfig)
    qam: QamConfig = field(default_factory=QamConfig)
    bc: BcConfig = field(default_factory=BcConfig)
    recap: RecapConfig = field(default_factory=RecapConfig)

    def __post_init__(self) -> None:
        for name, known in (('algorithm', ALGORITHMS), ('value', VALUES),
                            ('reference', REFERENCES), ('form', FORMS),
                            ('selection', dagger.SELECTIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f'agent: {name} = {getattr(self, name)!r} is not one of {known}')
        if (self.actor_every < 1 or min(self.actor_batch, self.actor_micro) < 0
                or not 0 <= self.acting_ema <= 1):
            raise ValueError('agent: actor_every >= 1, actor_batch and actor_micro >= 0, '
                             'acting_ema in [0, 1]')

    @property
    def clones_only(self) -> bool:
        """Say whether nothing but imitation is learned."""
        return self.algorithm in CLONING

    @property
    def imitation(self) -> str:
        """Return which data the algorithm clones (a selection of dagger.imitation_ticks)."""
        return SELECTIONS.get(self.algorithm, self.selection)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AgentConfig:
        """Build from plain data; an unknown key is named with its section."""
        return _build(cls, data, 'agent')


def _build(kind: type[T], data: Mapping[str, Any], where: str) -> T:
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name not in known:
            raise ValueError(f'{where}: unknown key {name!r}; known: {", ".join(known)}')
        section: Any = known[name].default_factory
        nested = is_dataclass(section) and isinstance(value, Mapping)
        values[name] = _build(section, value, f'{where}.{name}') if nested else value
    return kind(**values)

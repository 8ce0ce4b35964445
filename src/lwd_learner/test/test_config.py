# SPDX-License-Identifier: Apache-2.0
"""Settings are validated as a whole, and a refusal names section, key, value and bound."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from lwd_core.params import ParamError
from lwd_learner.algorithms.config import AgentConfig
from lwd_learner.config import LearnerConfig


@pytest.mark.parametrize(('data', 'message'), [
    ({'replay': {'gamma': 1.5}}, r'replay: parameter gamma: 1.5 refused, must be 0.5 to 1.0'),
    ({'replay': {'gama': 0.9}}, 'gama'),
    ({'replai': {}}, "unknown section 'replai'"),
    ({'learning': 3}, 'must be a mapping'),
    ({'policy': {'horizon': 0}}, 'horizon'),
    ({'sampler': {'low': 0.9}}, 'at most high'),
])
def test_wrong_setting_is_named(data, message):
    with pytest.raises(ParamError, match=message):
        LearnerConfig.from_dict(data)


def test_override_replaces_single_keys_and_validates_them():
    config = LearnerConfig.from_dict({'sft': {'batch': 7}, 'agent': {'a': 1}})
    changed = config.override(sft={'steps': 3}, agent={'b': 2})
    assert (changed.sft.batch, changed.sft.steps) == (7, 3)
    assert changed.agent == {'a': 1, 'b': 2}
    with pytest.raises(ParamError):
        config.override(sft={'steps': 0})


def test_the_documented_defaults_are_the_defaults():
    path = Path(__file__).resolve().parents[3] / 'config/learner/default.yaml'
    config = LearnerConfig.from_yaml(path)
    assert replace(config, agent={}) == LearnerConfig()
    assert AgentConfig.from_dict(config.agent) == AgentConfig()
    documented = yaml.safe_load(path.read_text())
    known = {**asdict(LearnerConfig()), 'agent': asdict(AgentConfig())}
    assert keys(documented) == keys(known)


def keys(section):
    """Return the tree of names without their values."""
    return {name: keys(value) for name, value in section.items()} if isinstance(
        section, dict) else None


def test_every_shipped_configuration_is_valid():
    for path in (Path(__file__).resolve().parents[3] / 'config/learner').glob('*.yaml'):
        config = LearnerConfig.from_yaml(path)
        AgentConfig.from_dict(config.agent)

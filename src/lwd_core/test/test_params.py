# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass

import pytest

from lwd_core.params import build, describe, param, ParamError


@dataclass(frozen=True)
class Params:
    rate: float = param(25.0, 'control rate', unit='Hz', lower=1.0, upper=1000.0)
    mode: str = param('asof', 'observation sync', choices=('asof', 'approximate'))
    retries: int = param(3, 'tries', lower=0)
    topics: tuple[str, ...] = param((), 'topics')
    shadow: bool = param(False, 'plan while a person drives', read_only=False)


def test_defaults_and_conversions():
    params = build(Params, {'rate': 50, 'topics': ['a', 'b']})
    assert params == Params(rate=50.0, topics=('a', 'b'))
    assert isinstance(params.rate, float)


@pytest.mark.parametrize(('values', 'message'), [
    ({'rate': 0.5}, r'parameter rate: 0.5 Hz refused, must be 1.0 to 1000.0 Hz'),
    ({'rate': float('nan')}, 'parameter rate: nan Hz refused, must be finite'),
    ({'rate': '25'}, "parameter rate: '25' Hz refused, must be float"),
    ({'mode': 'nearest'}, "parameter mode: 'nearest' refused, must be one of 'asof', 'approx"),
    ({'retries': -1}, 'parameter retries: -1 refused, must be at least 0'),
    ({'retries': True}, 'parameter retries: True refused, must be int'),
    ({'topics': 'abc'}, "parameter topics: 'abc' refused, must be a list of str"),
    ({'topics': [1]}, 'parameter topics: 1 refused, must be str'),
    ({'rat': 1.0}, 'parameter rat: unknown; known: mode, rate, retries'),
])
def test_a_refusal_names_parameter_value_and_bound(values, message):
    with pytest.raises(ParamError, match=message):
        build(Params, values)


def test_specs_say_what_a_user_must_know():
    rate = describe(Params)[0]
    assert (rate.description, rate.unit, rate.bound) == ('control rate', 'Hz', '1.0 to 1000.0')
    assert rate.read_only and not describe(Params)[-1].read_only

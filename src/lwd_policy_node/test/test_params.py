# SPDX-License-Identifier: Apache-2.0
"""Parameters that choose how chunks are played: bounds, and the file that is shipped."""

from pathlib import Path

import pytest
import yaml

from lwd_core.chunks.config import make_scheduler, SCHEDULERS
from lwd_core.params import build, ParamError
from lwd_policy_node.params import PolicyParams

SHIPPED = Path(__file__).parents[3] / 'config' / 'params' / 'policy.yaml'


def params(**values):
    return build(PolicyParams, {'robot_file': 'robot.yaml', **values})


def test_the_shipped_file_is_valid_and_plans_in_shadow():
    if not SHIPPED.is_file():
        pytest.skip('not in a checkout')
    (node,) = yaml.safe_load(SHIPPED.read_text()).values()
    found = params(**node['ros__parameters'])
    assert found.scheduler == 'synchronous' and found.shadow
    make_scheduler(found.chunking())


@pytest.mark.parametrize('name', SCHEDULERS)
def test_every_scheduler_is_chosen_by_its_parameter(name):
    chunking = params(scheduler=name, execute_steps=6, lookahead=2, rtc_max_weight=5.0).chunking()
    scheduler = make_scheduler(chunking)
    assert (scheduler.execute_steps, scheduler.lookahead) == (6, 2)
    assert chunking.min_horizon == (8 if name.startswith('rtc') else 6)


@pytest.mark.parametrize(('values', 'words'), [
    ({'scheduler': 'fast'}, "parameter scheduler: 'fast' refused.*'rtc'"),
    ({'blend': 'cubic'}, "parameter blend: 'cubic' refused.*'exponential'"),
    ({'blend_steps': 0}, 'parameter blend_steps: 0 refused, must be 1 to 1024'),
    ({'rtc_max_weight': -1.0}, 'parameter rtc_max_weight: -1.0 refused'),
    ({'lookahead': 8}, 'parameter lookahead: 8 refused, must be below execute_steps'),
])
def test_values_out_of_bounds_are_refused_with_the_bound(values, words):
    with pytest.raises(ParamError, match=words):
        params(**values)

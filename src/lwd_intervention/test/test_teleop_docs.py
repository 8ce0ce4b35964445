# SPDX-License-Identifier: Apache-2.0
"""The page's examples work as they are printed."""

from pathlib import Path
import re
import sys
import types

import numpy as np
import pytest
from teleop_rig import CONFIG, MAPPING, ROBOT
import yaml

from lwd_core.spec import SpecError
from lwd_intervention.teleop.arms import Arms
from lwd_intervention.teleop.building import build_session
from lwd_intervention.teleop.mapping import Mapping
from lwd_intervention.teleop.session import SessionConfig

PAGE = (Path(__file__).parents[3] / 'docs' / 'teleoperation.md').read_text()
ARMS_FILE = str(CONFIG / 'teleop' / 'arms' / 'sim.yaml')


def blocks(language):
    return re.findall(rf'```{language}\n(.*?)```', PAGE, re.DOTALL)


def test_the_mapping_and_the_arms_of_the_page_are_valid():
    mapping, arms = blocks('yaml')
    made = Mapping.from_dict(yaml.safe_load(mapping), 'mine', 'docs')
    assert made.arms == ('left', 'right') and 'discard' in made.actions
    assert Arms.from_dict(yaml.safe_load(arms), ROBOT, CONFIG / 'teleop' / 'arms', 'docs').names


def test_the_source_of_the_page_drives_a_session(monkeypatch):
    module = types.ModuleType('page_example')
    exec(compile(blocks('python')[0], 'docs/teleoperation.md', 'exec'), module.__dict__)
    monkeypatch.setitem(sys.modules, 'page_example', module)
    session = build_session(MAPPING, ROBOT, ARMS_FILE, 'page_example:SliderSource',
                            SessionConfig())
    source, home = session.source, np.array(ROBOT.home)
    assert source.trouble(10**9) == 'page is silent'
    source.begin(home)
    held = {'left': True, 'right': False}
    assert np.array_equal(source.step(0, held, None).positions, home)
    message = types.SimpleNamespace(
        name=['left/waist', 'right/waist'], position=[0.3, 0.3],
        header=types.SimpleNamespace(stamp=types.SimpleNamespace(sec=1, nanosec=0)))
    source.on_page(message)
    assert source.trouble(10**9) == ''
    steps = [source.step(k, held, None).positions for k in range(20)]
    assert np.diff([step[0] for step in steps]).max() <= 0.5 * 0.04 + 1e-9
    assert steps[-1][0] == pytest.approx(0.3) and steps[-1][7] == home[7]


def test_a_source_that_is_not_there_is_refused_with_what_may_stand_there():
    with pytest.raises(SpecError, match="'nowhere:Source'.*package.module:Class"):
        build_session(MAPPING, ROBOT, ARMS_FILE, 'nowhere:Source', SessionConfig())


def test_the_page_names_every_device_that_the_graph_offers():
    builders = pytest.importorskip('lwd_bringup.graph.builders')
    for device in builders.TELEOP.choices:
        assert device == 'none' or f'`{device}`' in PAGE, device

# SPDX-License-Identifier: Apache-2.0
import importlib.util
from pathlib import Path

import fake_launch
import pytest

from lwd_bringup.graph import build_graph, GRAPHS

LAUNCH = Path(__file__).resolve().parents[3] / 'launch'
CASES = [
    ('robot', {'robot': 'r7', 'policy': 'false'}),
    ('learner', {'store': '/tmp/s'}),
    ('sim_fleet', {'robots': '3', 'operator': 'supervise', 'tasks': 'place,crate'}),
    ('replay', {'bag': '/tmp/b.mcap', 'rate': '2'}),
    ('replay', {'bag': '/tmp/b', 'shadow': 'c' * 12}),
]


@pytest.fixture(autouse=True)
def _ros_launch(monkeypatch):
    fake_launch.install(monkeypatch)


def load(name):
    path = LAUNCH / f'{name}.launch.py'
    spec = importlib.util.spec_from_file_location(f'{name}_launch', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


@pytest.mark.parametrize(('name', 'values'), CASES, ids=range(len(CASES)))
def test_a_launch_file_starts_the_nodes_that_the_runner_starts(name, values):
    graph = build_graph(name, **values)
    started = [node.fields for node in fake_launch.perform(load(name), **values)]
    assert len(started) == len(graph.processes())
    for fields, nodes in zip(started, graph.processes().values(), strict=True):
        assert fields['namespace'] == nodes[0].namespace
        assert fields['remappings'] == list(nodes[0].remaps)
        if len(nodes) > 1:
            assert fields['executable'] == 'compose_node'
            continue
        assert (fields['package'], fields['executable'], fields['name']) == (
            nodes[0].package, nodes[0].executable, nodes[0].name)
        *files, own = fields['parameters']
        assert tuple(files) == nodes[0].params_files
        assert {key: getattr(value, 'value', value) for key, value in own.items()} == dict(
            nodes[0].parameters)


def test_launch_is_told_the_type_of_every_list():
    started = fake_launch.perform(load('sim_fleet'), operator='demonstrate', robots='1')
    lists = [value for node in started for value in node.fields['parameters'][-1].values()
             if isinstance(getattr(value, 'value', value), list | tuple)]
    assert [] in [value.value for value in lists], 'the case that launch refuses'
    assert all(value.value_type == list[str] for value in lists)


@pytest.mark.parametrize('name', [case[0] for case in CASES])
def test_every_launch_argument_says_what_it_is(name):
    declared = [entity for entity in load(name).entities
                if isinstance(entity, fake_launch.DeclareLaunchArgument)]
    assert [entity.name for entity in declared] == [a.name for a in GRAPHS[name].arguments]
    assert all(len(entity.description) > 10 for entity in declared)


def test_launch_files_import_only_launch_and_the_graph():
    for path in LAUNCH.glob('*.launch.py'):
        imports = [line for line in path.read_text().splitlines()
                   if line.startswith(('import ', 'from '))]
        assert all(line.split()[1].split('.')[0] in ('launch', 'launch_ros', 'lwd_bringup')
                   for line in imports), path

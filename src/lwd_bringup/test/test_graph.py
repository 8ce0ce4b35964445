# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

from lwd_bringup.graph import build_graph, Graph, GraphError, GRAPHS, NodeSpec, validate

PACKAGES = ['lwd_intervention', 'lwd_logger', 'lwd_policy_node', 'lwd_sim', 'lwd_learner',
            'lwd_bringup']
OWN_PROCESS = {'arbiter_node', 'policy_node'}


def build(name, **values):
    return build_graph(name, PACKAGES, **values)


def names(graph):
    return [node.full_name for node in graph.nodes]


def test_every_template_builds_and_its_nodes_have_unique_names():
    for name in GRAPHS:
        graph = build(name, **({'bag': 'x.mcap'} if name == 'replay' else {}))
        assert graph.nodes and len(set(names(graph))) == len(graph.nodes)


def test_arbiter_and_policy_share_no_process_in_any_graph():
    for name in ('robot', 'sim', 'sim_fleet'):
        for nodes in build(name).processes().values():
            if OWN_PROCESS & {node.executable for node in nodes}:
                assert len(nodes) == 1


def test_fleet_gives_each_robot_its_namespace_clock_and_seeds():
    graph = build('sim_fleet', robots=3, operator='supervise', seed=5, seed_stride=100)
    people = [node for node in graph.nodes if node.executable == 'operator_node']
    assert [node.namespace for node in people] == ['robot1', 'robot2', 'robot3']
    assert [node.parameters['seed'] for node in people] == [5, 105, 205]
    assert people[2].resolve('/clock') == '/robot3/clock'


def test_a_person_drives_in_real_time_and_sees_the_cell():
    by_name = {node.name: node for node in build('sim', teleop='joystick', tasks='crate').nodes}
    assert {'teleop', 'joy', 'view'} <= set(by_name) and 'operator' not in by_name
    assert by_name['sim'].parameters['real_time_factor'] == 1.0
    assert by_name['teleop'].parameters['mapping'] == 'auto'
    assert by_name['teleop'].parameters['task'] == 'crate'
    assert by_name['teleop'].parameters['arms_file'].endswith('config/teleop/arms/sim.yaml')
    assert by_name['joy'].resolve('/clock') == '/robot1/clock'
    external = {node.name for node in build('robot', teleop='ps5', joy=False).nodes}
    assert 'teleop' in external and not {'joy', 'view'} & external


def test_the_scripted_operator_may_drive_through_a_joystick():
    by_name = {node.name: node for node in build(
        'sim', operator='supervise', operator_teleop='joystick', joystick_tasks='place').nodes}
    assert by_name['operator'].parameters['joystick_tasks'] == ['place']
    assert by_name['operator'].parameters['teleop'] == 'joystick'
    assert by_name['teleop'].parameters['mapping'] == 'scripted'
    assert by_name['teleop'].parameters['await_joy'] is True
    assert by_name['sim'].parameters['real_time_factor'] == 0.0


def test_learner_follows_wall_time_and_robots_the_simulation():
    graph = build('sim_fleet')
    by_name = {node.full_name: node for node in graph.nodes}
    assert by_name['/lwd/learner'].parameters['use_sim_time'] is False
    assert by_name['/robot1/arbiter'].parameters['use_sim_time'] is True
    assert by_name['/robot1/sim'].parameters['use_sim_time'] is False


def test_robots_and_learner_meet_in_the_same_store():
    graph = build('sim_fleet', store='/tmp/some_store')
    stores = {node.parameters['store'] for node in graph.nodes if 'store' in node.parameters}
    assert stores == {'/tmp/some_store'}


@pytest.mark.parametrize(('name', 'values', 'message'), [
    ('robots', {}, "no graph 'robots'"),
    ('robot', {'robott': 'a'}, "no argument 'robott'"),
    ('sim', {'operator': 'drunk'}, 'not one of none, demonstrate'),
    ('sim_fleet', {'robots': 'two'}, "'two' is not a int"),
    ('sim_fleet', {'robots': '0'}, '0 is outside 1 to 16'),
    ('sim', {'policy': 'maybe'}, "'maybe' is not true or false"),
    ('replay', {}, 'name an episode folder'),
    ('sim', {'teleop': 'xbox', 'operator': 'supervise'}, 'both drive; choose one'),
    ('robot', {'teleop': 'xbox', 'arms_file': '/nowhere.yaml'}, 'no /nowhere.yaml'),
    ('sim', {'teleop': 'atari'}, 'not one of none, joystick, keyboard'),
])
def test_bad_arguments_are_refused_by_name_and_bound(name, values, message):
    with pytest.raises(GraphError, match=message):
        build(name, **values)


def node(name, **fields):
    return NodeSpec('lwd_logger', fields.pop('executable', 'recorder_node'), name, 'r', **fields)


@pytest.mark.parametrize(('nodes', 'message'), [
    ((node('a'), node('a')), '2 nodes are called /r/a'),
    ((node('a', publishes=('command',)), node('b', publishes=('command',))), 'two writers'),
    ((node('a', publishes=('command',)),
      node('b', publishes=('out',), remaps=(('out', 'command'),))), '/r/command has two writers'),
    ((replace(node('a'), package='lwd_nowhere'),), "package 'lwd_nowhere'"),
    ((node('a', process='p'),
      replace(node('b', process='p'), package='lwd_intervention', executable='arbiter_node')),
     'must not share process'),
    ((node('a', process='p'), node('b', process='p', remaps=(('x', 'y'),))), 'differ in remaps'),
])
def test_unsafe_graphs_are_refused(nodes, message):
    with pytest.raises(GraphError, match=message):
        validate(Graph('bad', {}, nodes), PACKAGES)


def test_simulated_robots_step_back_for_the_learner_but_for_recorders_which_nobody_waits_for():
    fleet = build('sim_fleet').nodes
    robots = [node for node in fleet if node.namespace != 'lwd']
    assert {node.niceness for node in robots if node.name != 'recorder'} == {5}
    assert {node.niceness for node in robots if node.name == 'recorder'} == {0}
    assert {node.niceness for node in fleet if node.namespace == 'lwd'} == {0}
    assert not any(node.niceness for node in build('sim').nodes)

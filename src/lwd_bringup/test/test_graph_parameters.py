# SPDX-License-Identifier: Apache-2.0
"""rclpy takes no notice of a parameter that a node does not declare; this test does."""
from importlib import import_module

import pytest
import yaml

from lwd_bringup.graph import build_graph
from lwd_core.params import build

DECLARED = {
    'arbiter_node': 'lwd_intervention.arbiter_node:ArbiterParams',
    'episode_node': 'lwd_intervention.episode_node:EpisodeParams',
    'policy_node': 'lwd_policy_node.params:PolicyParams',
    'recorder_node': 'lwd_logger.config:RecorderParams',
    'replay_node': 'lwd_bringup.replay_node:ReplayParams',
    'shadow_node': 'lwd_bringup.shadow_node:ShadowParams',
    'learner_node': 'lwd_learner.learner_node:LearnerParams',
    'sim_robot_node': 'lwd_sim.sim_robot_node:SimParams',
    'operator_node': 'lwd_sim.operator_node:OperatorParams',
}
CASES = {
    'sim_fleet': {'operator': 'supervise', 'tasks': 'place,crate'},
    'sim': {'operator': 'demonstrate'},
    'robot': {},
    'replay': {'bag': '/tmp/x.mcap', 'namespace': 'other', 'force': True},
}
CASES['replay shadow'] = {'bag': '/tmp/x', 'shadow': 'c' * 64, 'out': '/tmp/out'}


@pytest.mark.parametrize('name', CASES)
def test_nodes_declare_and_accept_the_parameters_that_the_graph_sets(name):
    for node in build_graph(name.split()[0], **CASES[name]).nodes:
        module, _, cls = DECLARED[node.executable].partition(':')
        values = {}
        for path in node.params_files:
            with open(path) as file:
                values |= yaml.safe_load(file)['/**']['ros__parameters']
        values |= dict(node.parameters)
        values.pop('use_sim_time')
        build(getattr(import_module(module), cls), values)

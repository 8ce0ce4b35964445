# SPDX-License-Identifier: Apache-2.0
"""Read the files that a graph names, before its processes each trip over the same mistake."""

from pathlib import Path

from lwd_bringup.graph.spec import Graph, NodeSpec
from lwd_bringup.replay import bag_path
from lwd_core.robot import RobotSpec
from lwd_core.spec import load_yaml
from lwd_core.task import load_tasks, require_task


def check_files(graph: Graph) -> None:
    """Raise SpecError or ReplayError naming the first file, key, task or bag that is wrong."""
    for path in _named(graph, 'robot_file'):
        RobotSpec.from_yaml(path)
    for path in _named(graph, 'config'):
        load_yaml(path)
    for path in _named(graph, 'bag'):
        bag_path(Path(path))
    for node in graph.nodes:
        _check_tasks(node)


def _named(graph: Graph, parameter: str) -> list[str]:
    """Return the different files that nodes are given as a parameter, in their order."""
    return list(dict.fromkeys(node.parameters[parameter] for node in graph.nodes
                              if node.parameters.get(parameter)))


def _check_tasks(node: NodeSpec) -> None:
    path = node.parameters.get('tasks_file')
    if path:
        known = load_tasks(path)
        for name in node.parameters.get('tasks', ()):
            require_task(known, name, node.full_name)

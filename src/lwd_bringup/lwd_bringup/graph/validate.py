# SPDX-License-Identifier: Apache-2.0
"""Refuse a graph that would not run safely, before anything is started."""

from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec

from lwd_bringup.graph.spec import Graph, GraphError, NodeSpec

# A crash or a stall of a neighbour must never stop these; the policy node brings its own worker.
EXCLUSIVE = {('lwd_intervention', 'arbiter_node'), ('lwd_policy_node', 'policy_node')}


def validate(graph: Graph, packages: Iterable[str] | None = None) -> Graph:
    """
    Return graph if it may be started; raise GraphError naming the offending nodes.

    `packages` are the known ones; by default those that Python can import.
    """
    known = set(packages) if packages is not None else None
    _refuse_unknown_packages(graph, known)
    _refuse_duplicates(graph)
    _refuse_two_writers(graph)
    for name, nodes in graph.processes().items():
        _refuse_bad_process(graph, name, nodes)
    return graph


def _refuse_unknown_packages(graph: Graph, known: set[str] | None) -> None:
    for node in graph.nodes:
        found = find_spec(node.package) is not None if known is None else node.package in known
        if not found:
            raise GraphError(
                f"graph '{graph.name}': {node.full_name} is of package '{node.package}', which is "
                'not here: build the workspace and source install/setup.bash'
            )


def _refuse_duplicates(graph: Graph) -> None:
    for name, count in Counter(node.full_name for node in graph.nodes).items():
        if count > 1:
            raise GraphError(f"graph '{graph.name}': {count} nodes are called {name}; one may be")


def _refuse_two_writers(graph: Graph) -> None:
    writers: dict[str, str] = {}
    for node in graph.nodes:
        for topic in map(node.resolve, node.publishes):
            if topic in writers:
                raise GraphError(
                    f"graph '{graph.name}': {topic} has two writers, {writers[topic]} and "
                    f'{node.full_name}; only one may command a robot'
                )
            writers[topic] = node.full_name


def _refuse_bad_process(graph: Graph, name: str, nodes: tuple[NodeSpec, ...]) -> None:
    if len(nodes) == 1:
        return
    for node in nodes:
        if (node.package, node.executable) in EXCLUSIVE:
            others = ', '.join(other.full_name for other in nodes if other is not node)
            raise GraphError(
                f"graph '{graph.name}': {node.full_name} must not share process '{name}' with "
                f'{others}: it has to outlive them'
            )
    # Remaps and respawn are given to the process as a whole.
    for what in ('namespace', 'remaps', 'respawn'):
        if len({repr(getattr(node, what)) for node in nodes}) > 1:
            raise GraphError(f"graph '{graph.name}': nodes of process '{name}' differ in {what}")

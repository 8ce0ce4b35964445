# SPDX-License-Identifier: Apache-2.0
"""
One process, several nodes, one executor: what the graph says shares a process.

Each `--node` is a JSON object as `graph.command.compose_arguments` writes it. The module of each
executable offers `build_node(**arguments_of_Node)`, or defines exactly one Node class.
"""

import argparse
import contextlib
from importlib import import_module
import json
from pathlib import Path
import tempfile
from types import ModuleType
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
import yaml


def node_arguments(described: dict[str, Any], folder: Path, remaps: list[str]) -> list[str]:
    """Return a node's own ROS arguments; its parameters are written to a file in folder."""
    name, namespace = described['name'], described['namespace']
    own = folder / f'{name}.yaml'
    full_name = f'/{namespace}/{name}' if namespace else f'/{name}'
    own.write_text(yaml.safe_dump({full_name: {'ros__parameters': described['parameters']}}))
    arguments = ['--ros-args', '-r', f'__node:={name}', '-r', f'__ns:=/{namespace}', *remaps]
    for path in (*described['params_files'], str(own)):
        arguments += ['--params-file', path]
    return arguments


def build(described: dict[str, Any], folder: Path, remaps: list[str]) -> Node:
    """Make one node of the process."""
    module = import_module(f"{described['package']}.{described['executable']}")
    make = getattr(module, 'build_node', None) or _node_class(module)
    return make(cli_args=node_arguments(described, folder, remaps), use_global_arguments=False)


def _node_class(module: ModuleType) -> type[Node]:
    found = [value for value in vars(module).values() if isinstance(value, type)
             and issubclass(value, Node) and value.__module__ == module.__name__]
    if len(found) != 1:
        raise TypeError(f'{module.__name__} defines {len(found)} Node classes and no build_node: '
                        'it cannot share a process')
    return found[0]


def main(args: list[str] | None = None) -> None:
    """Spin all nodes until asked to stop."""
    parser = argparse.ArgumentParser(description='Run several nodes in one process.')
    parser.add_argument('--node', action='append', required=True, type=json.loads)
    options, ros = parser.parse_known_args(args)
    remaps = [part for rule in ros if ':=' in rule and not rule.startswith('__')
              for part in ('-r', rule)]
    rclpy.init(args=[])
    executor = SingleThreadedExecutor()
    nodes: list[Node] = []
    with tempfile.TemporaryDirectory(prefix='lwd_compose_') as folder:
        try:
            for described in options.node:
                nodes.append(build(described, Path(folder), remaps))
                executor.add_node(nodes[-1])
            with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
                executor.spin()
        finally:
            for node in nodes:
                getattr(node, 'close', lambda: None)()
                node.destroy_node()
            rclpy.try_shutdown()


if __name__ == '__main__':
    main()

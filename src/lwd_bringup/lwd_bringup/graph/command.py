# SPDX-License-Identifier: Apache-2.0
"""The command line of a process: its nodes, their names, remaps and parameters."""

from collections.abc import Mapping
import json
from pathlib import Path
import sys
from typing import Any

import yaml

from lwd_bringup.graph.spec import NodeSpec


def compose_arguments(nodes: tuple[NodeSpec, ...]) -> list[str]:
    """Return the arguments that tell `compose_node` which nodes to hold."""
    described = []
    for node in nodes:
        described += ['--node', json.dumps({
            'package': node.package,
            'executable': node.executable,
            'name': node.name,
            'namespace': node.namespace,
            'params_files': list(node.params_files),
            'parameters': plain(node.parameters),
        })]
    return described


def process_command(nodes: tuple[NodeSpec, ...], params_dir: Path) -> tuple[str, ...]:
    """Return the command that starts one process; writes its parameters below params_dir."""
    first = nodes[0]
    remaps = [rule for remap in first.remaps for rule in ('-r', f'{remap[0]}:={remap[1]}')]
    if len(nodes) > 1:
        return (sys.executable, '-m', 'lwd_bringup.compose_node',
                *compose_arguments(nodes), '--ros-args', *remaps)
    params = params_dir / f"{first.full_name.strip('/').replace('/', '.')}.yaml"
    write_params(params, first)
    files = [part for file in (*first.params_files, str(params))
             for part in ('--params-file', file)]
    return (sys.executable, '-m', f'{first.package}.{first.executable}', '--ros-args',
            '-r', f'__node:={first.name}', '-r', f'__ns:=/{first.namespace}', *remaps, *files)


def write_params(path: Path, node: NodeSpec) -> None:
    """Write a node's own parameters as a ROS 2 parameter file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {node.full_name: {'ros__parameters': plain(node.parameters)}}
    path.write_text(yaml.safe_dump(content, sort_keys=True))


def plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as plain lists and numbers, as YAML and JSON want them."""
    return {key: list(value) if isinstance(value, tuple | list) else value
            for key, value in parameters.items()}

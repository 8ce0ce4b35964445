# SPDX-License-Identifier: Apache-2.0
"""Turn a graph into launch_ros actions, for machines with `ros2 launch`."""

from typing import Any

from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription
from lwd_bringup.graph.builders import build_graph, GRAPHS
from lwd_bringup.graph.command import compose_arguments
from lwd_bringup.graph.spec import Argument, NodeSpec


def describe(name: str) -> LaunchDescription:
    """Return the launch description of a graph: its arguments, then its nodes."""
    arguments = GRAPHS[name].arguments
    declared = [_declare(argument) for argument in arguments]
    return LaunchDescription([*declared, OpaqueFunction(function=_start, args=[name])])


def _declare(argument: Argument) -> DeclareLaunchArgument:
    text = str(argument.default)
    if isinstance(argument.default, bool):
        text = text.lower()
    return DeclareLaunchArgument(argument.name, default_value=text,
                                 description=argument.description,
                                 choices=list(argument.choices) or None)


def _start(context: LaunchContext, name: str) -> list[Any]:
    values = {argument.name: LaunchConfiguration(argument.name).perform(context)
              for argument in GRAPHS[name].arguments}
    graph = build_graph(name, **values)
    return [_process(nodes) for nodes in graph.processes().values()]


def _process(nodes: tuple[NodeSpec, ...]) -> Node:
    first = nodes[0]
    common = {
        'namespace': first.namespace,
        'remappings': list(first.remaps),
        'output': 'screen',
        'prefix': f'nice -n {first.niceness}' if first.niceness else None,
        'respawn': first.respawn.on_failure,
        'respawn_delay': first.respawn.delay,
        'respawn_max_retries': first.respawn.max_restarts,
        'on_exit': Shutdown() if any(node.ends_graph for node in nodes) else None,
    }
    if len(nodes) == 1:
        return Node(package=first.package, executable=first.executable, name=first.name,
                    parameters=[*first.params_files, _typed(first)], **common)
    return Node(package='lwd_bringup', executable='compose_node',
                arguments=compose_arguments(nodes), **common)


def _typed(node: NodeSpec) -> dict[str, Any]:
    """Return the parameters such that launch does not read a robot called '7' as a number.

    Nor does it take an empty list without being told of what; our lists are of strings.
    """
    return {key: _text(value) for key, value in node.parameters.items()}


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return ParameterValue(value, value_type=str)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return ParameterValue(list(value), value_type=list[str])
    return value

# SPDX-License-Identifier: Apache-2.0
"""The few names of `launch` and `launch_ros` that the launch files use; they only record."""

from dataclasses import dataclass, field
import sys
from types import ModuleType
from typing import Any


@dataclass
class Context:
    launch_configurations: dict = field(default_factory=dict)


class LaunchConfiguration:
    def __init__(self, name):
        self.name = name

    def perform(self, context):
        return context.launch_configurations[self.name]


@dataclass
class DeclareLaunchArgument:
    name: str
    default_value: str
    description: str
    choices: list | None = None


@dataclass
class OpaqueFunction:
    function: Any
    args: list


@dataclass
class Shutdown:
    reason: str = ''


@dataclass
class LaunchDescription:
    entities: list


@dataclass
class ParameterValue:
    value: Any
    value_type: type


class Node:
    def __init__(self, **fields):
        self.fields = fields


def install(monkeypatch):
    """Put the fakes where the launch files import from."""
    modules = {
        'launch': {'LaunchDescription': LaunchDescription, 'LaunchContext': Context},
        'launch.actions': {'DeclareLaunchArgument': DeclareLaunchArgument,
                           'OpaqueFunction': OpaqueFunction, 'Shutdown': Shutdown},
        'launch.substitutions': {'LaunchConfiguration': LaunchConfiguration},
        'launch_ros': {},
        'launch_ros.actions': {'Node': Node},
        'launch_ros.parameter_descriptions': {'ParameterValue': ParameterValue},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, 'lwd_bringup.graph.ros_launch', raising=False)


def perform(description, **values):
    """Return the nodes that a description starts with the given arguments."""
    declared = [e for e in description.entities if isinstance(e, DeclareLaunchArgument)]
    context = Context({**{e.name: e.default_value for e in declared}, **values})
    nodes = []
    for entity in description.entities:
        if isinstance(entity, OpaqueFunction):
            nodes += entity.function(context, *entity.args)
    return nodes

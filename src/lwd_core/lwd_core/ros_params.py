# SPDX-License-Identifier: Apache-2.0
"""rclpy adapter of `params.py`: declare a dataclass of parameters on a node."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from lwd_core.params import build, describe, ParamError, ParamSpec

T = TypeVar('T')


def declare(node: Node, cls: type[T], on_change: Callable[[T], None] | None = None) -> T:
    """Declare every parameter of `cls` on the node and return the validated values.

    on_change: called with the new dataclass after a change of parameters that are not read-only.
    Raises ParamError naming the parameter, the value and the bound.
    """
    specs = describe(cls)
    for spec in specs:
        node.declare_parameter(spec.name, _to_ros(spec.default), _descriptor(spec))
    current = build(cls, {spec.name: _value(node, spec) for spec in specs})
    _guard_changes(node, cls, specs, on_change)
    return current


def _descriptor(spec: ParamSpec) -> ParameterDescriptor:
    unit = f' [{spec.unit}]' if spec.unit else ''
    # Dynamic typing: rclpy's own refusal of `25` for 25.0 would name no bound.
    return ParameterDescriptor(
        description=spec.description + unit, additional_constraints=spec.bound,
        read_only=spec.read_only, dynamic_typing=True)


def _to_ros(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _from_ros(spec: ParamSpec, value: Any) -> Any:
    if spec.is_list and not value:
        return ()  # an empty YAML list has no element type
    return value.tolist() if isinstance(value, array.array) else value


def _value(node: Node, spec: ParamSpec) -> Any:
    return _from_ros(spec, node.get_parameter(spec.name).value)


def _guard_changes(
    node: Node, cls: type[T], specs: tuple[ParamSpec, ...],
    on_change: Callable[[T], None] | None,
) -> None:
    known = {spec.name: spec for spec in specs}

    def merged(changes: list[Parameter]) -> T:
        values = {spec.name: _value(node, spec) for spec in specs}
        values.update((p.name, _from_ros(known[p.name], p.value)) for p in changes
                      if p.name in known)
        return build(cls, values)

    def check(changes: list[Parameter]) -> SetParametersResult:
        try:
            merged(changes)
        except ParamError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def changed(changes: list[Parameter]) -> None:
        if on_change is not None and any(p.name in known for p in changes):
            on_change(merged(changes))

    node.add_on_set_parameters_callback(check)
    node.add_post_set_parameters_callback(changed)

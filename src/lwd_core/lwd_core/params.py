# SPDX-License-Identifier: Apache-2.0
"""Parameters as one frozen dataclass: description, unit, bounds and validation in one place.

    @dataclass(frozen=True)
    class Params:
        store: str = param('', 'folder of the store')
        rate: float = param(25.0, 'control rate', unit='Hz', lower=1.0, upper=1000.0)

`build(Params, {'rate': 50})` validates; `ros_params.declare(node, Params)` does it on a node. A
refusal names the parameter, the value and the bound. Types: bool, int, float, str and tuples of
them. A `__post_init__` may refuse combinations by raising ParamError.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import math
from typing import Any, get_args, get_origin, get_type_hints, TypeVar

T = TypeVar('T')
_SCALARS = (bool, int, float, str)


class ParamError(ValueError):
    """A parameter that was refused: name, value and bound are in the message."""


@dataclasses.dataclass(frozen=True)
class ParamSpec:
    """What is known of one parameter."""

    name: str
    type: type           # bool, int, float or str; of the elements where `is_list`
    is_list: bool
    default: Any
    description: str
    unit: str = ''
    lower: float | None = None
    upper: float | None = None
    choices: tuple[Any, ...] = ()
    read_only: bool = True

    @property
    def bound(self) -> str:
        """Return the bound in words, '' if there is none."""
        if self.choices:
            return 'one of ' + ', '.join(repr(choice) for choice in self.choices)
        if self.lower is not None and self.upper is not None:
            return f'{self.lower} to {self.upper}'
        if self.lower is not None:
            return f'at least {self.lower}'
        return '' if self.upper is None else f'at most {self.upper}'

    def check(self, value: Any) -> Any:
        """Return `value` in the parameter's type, or raise ParamError."""
        if self.is_list:
            if isinstance(value, str) or not hasattr(value, '__iter__'):
                raise self._error(value, f'must be a list of {self.type.__name__}')
            return tuple(self._check_one(element) for element in value)
        return self._check_one(value)

    def _check_one(self, value: Any) -> Any:
        if self.type is float and type(value) is int:
            value = float(value)  # YAML writes 25 for 25.0
        if type(value) is not self.type:  # an exact type: True is no int
            raise self._error(value, f'must be {self.type.__name__}')
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(value, 'must be finite')
        number: Any = value
        low = self.lower is not None and number < self.lower
        high = self.upper is not None and number > self.upper
        if low or high or (self.choices and value not in self.choices):
            raise self._error(value, f'must be {self.bound}')
        return value

    def _error(self, value: Any, rule: str) -> ParamError:
        unit = f' {self.unit}' if self.unit else ''
        return ParamError(f'parameter {self.name}: {value!r}{unit} refused, {rule}{unit}')


def param(
    default: Any, description: str, *, unit: str = '', lower: float | None = None,
    upper: float | None = None, choices: tuple[Any, ...] = (), read_only: bool = True,
) -> Any:
    """Return a dataclass field that carries a parameter's description and bounds."""
    metadata = dict(description=description, unit=unit, lower=lower, upper=upper,
                    choices=choices, read_only=read_only)
    return dataclasses.field(default=default, metadata=metadata)


def describe(cls: type) -> tuple[ParamSpec, ...]:
    """Return the parameters of a dataclass in their order."""
    hints = get_type_hints(cls)
    return tuple(_spec(field, hints[field.name]) for field in dataclasses.fields(cls))


def _spec(field: dataclasses.Field[Any], hint: Any) -> ParamSpec:
    is_list = get_origin(hint) is tuple
    element = get_args(hint)[0] if is_list else hint
    if element not in _SCALARS:
        raise TypeError(f'{field.name}: {hint} cannot be a ROS parameter')
    return ParamSpec(field.name, element, is_list, field.default, **field.metadata)


def build(cls: type[T], values: Mapping[str, Any]) -> T:
    """Return the validated dataclass; names the known parameters if one is unknown."""
    specs = {spec.name: spec for spec in describe(cls)}
    unknown = sorted(set(values) - set(specs))
    if unknown:
        raise ParamError(f'parameter {unknown[0]}: unknown; known: {", ".join(sorted(specs))}')
    return cls(**{name: specs[name].check(value) for name, value in values.items()})

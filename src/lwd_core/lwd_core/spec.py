# SPDX-License-Identifier: Apache-2.0
"""Strict reading of specification files: every refusal names file, key, value and bound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import math
from pathlib import Path
import re
from typing import Any

import yaml

# REP-144 style names; joints and sources may be grouped by '/', as in 'left/waist'.
NAME_PATTERN = re.compile(r'[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*')
TEXT_LIMIT = 500  # characters; an instruction is a sentence, not a document


class SpecError(ValueError):
    """A specification that cannot be used; names where, what, the value and the bound."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML would silently let the last one win."""


def _mapping_without_duplicates(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)  # type: ignore[no-untyped-call]
        if key in seen:
            raise SpecError(f'line {key_node.start_mark.line + 1}: key {key!r} is given twice')
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Return the mapping in the YAML file `path`; raise SpecError if it is not one."""
    try:
        text = Path(path).read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f'{path}: cannot be read: {error}') from error
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)
    except SpecError as error:
        raise SpecError(f'{path}: {error}') from None
    except yaml.YAMLError as error:
        raise SpecError(f'{path}: is not YAML: {" ".join(str(error).split())}') from error
    if not isinstance(data, dict):
        raise SpecError(f'{path}: holds {type(data).__name__}, must be a mapping of keys')
    return data


class Fields:
    """The fields of one mapping, taken one by one; `done` refuses what nobody took."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, Mapping):
            raise SpecError(f'{where}: is {data!r}, must be a mapping of keys')
        self._data = dict(data)
        self._known: list[str] = []
        self.where = where

    def error(self, key: str, problem: str) -> SpecError:
        """Return the error that says what is wrong with the value of `key`."""
        return SpecError(f'{self.where}: {key}: {problem}')

    def take(self, key: str, default: Any = ...) -> Any:
        """Return the raw value of `key`; without a default it must be there."""
        self._known.append(key)
        if key in self._data:
            return self._data.pop(key)
        if default is ...:
            raise self.error(key, 'is missing')
        return default

    def name(self, key: str, default: Any = ...) -> str:
        """Take a name: lower case letters, digits and underscores, grouped by '/'."""
        return check_name(self.take(key, default), f'{self.where}: {key}')

    def text(self, key: str, default: Any = ...) -> str:
        """Take a text that is not empty."""
        value = self.take(key, default)
        if not isinstance(value, str) or not value.strip() or len(value) > TEXT_LIMIT:
            raise self.error(key, f'is {value!r}, must be a text of 1 to {TEXT_LIMIT} characters')
        return value

    def choice(self, key: str, choices: Iterable[str], default: Any = ...) -> str:
        """Take one of `choices`."""
        value = self.take(key, default)
        if value not in tuple(choices):
            raise self.error(key, f'is {value!r}, must be one of {", ".join(choices)}')
        return str(value)

    def number(self, key: str, *, above: float = -math.inf, at_most: float = math.inf,
               default: Any = ...) -> float:
        """Take a finite number in (above, at_most]."""
        return check_number(
            self.take(key, default), f'{self.where}: {key}', above=above, at_most=at_most)

    def integer(self, key: str, low: int, high: int, default: Any = ...) -> int:
        """Take an integer in [low, high]."""
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(key, f'is {value!r}, must be an integer from {low} to {high}')
        return value

    def sequence(self, key: str, default: Any = ...) -> list[Any]:
        """Take a list."""
        value = self.take(key, default)
        if not isinstance(value, (list, tuple)):
            raise self.error(key, f'is {value!r}, must be a list')
        return list(value)

    def done(self) -> None:
        """Refuse keys that were not taken: a misspelt key must not be silently ignored."""
        if self._data:
            unknown = ', '.join(repr(key) for key in self._data)
            raise SpecError(f'{self.where}: unknown key {unknown}, known are '
                            f'{", ".join(sorted(self._known))}')


def check_name(value: Any, where: str) -> str:
    """Return `value` if it is a valid name."""
    if not isinstance(value, str) or not NAME_PATTERN.fullmatch(value):
        raise SpecError(f'{where}: is {value!r}, must be lower case letters, digits and '
                        "underscores, grouped by '/'")
    return value


def check_number(value: Any, where: str, *, above: float = -math.inf,
                 at_most: float = math.inf) -> float:
    """Return `value` as a float if it is a finite number in (above, at_most]."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not above < value <= at_most:
        bounds = [f'above {above:g}'] if above > -math.inf else []
        bounds += [f'at most {at_most:g}'] if at_most < math.inf else []
        raise SpecError(f'{where}: is {value!r}, must be a finite number '
                        f'{" and ".join(bounds)}'.rstrip())
    return float(value)


def check_unique(values: Iterable[str], where: str) -> None:
    """Raise SpecError naming the first value that occurs twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise SpecError(f'{where}: {value!r} is given twice')
        seen.add(value)

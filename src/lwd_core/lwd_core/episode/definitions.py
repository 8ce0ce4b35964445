# SPDX-License-Identifier: Apache-2.0
"""Message definitions as they go into bags: the full text with every dependency, and its hash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
import os
from pathlib import Path
from typing import Any, Protocol

from rosbags.typesys import get_types_from_msg, get_typestore, Stores


class DefinitionError(RuntimeError):
    """A message type has no definition here; the message says where it was looked for."""


@dataclass(frozen=True)
class Definition:
    """A message type: `text` is its .msg with all dependencies, `rihs` its RIHS01 type hash."""

    name: str
    text: str
    rihs: str


class DefinitionSource(Protocol):
    """Anything that knows definitions by type name."""

    def get(self, name: str) -> Definition:
        """Return the definition of 'package/msg/Name'."""


class Definitions:
    """Definitions of ROS's own messages, and of the packages found in `prefixes`.

    `prefixes`: install prefixes (`<prefix>/share/<package>/msg/*.msg`) or package source folders
    (`<folder>/msg/*.msg`, the folder being named as the package); by default AMENT_PREFIX_PATH.
    """

    def __init__(self, prefixes: Iterable[Path | str] | None = None) -> None:
        if prefixes is None:
            prefixes = filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep))
        self._prefixes = tuple(Path(prefix) for prefix in prefixes)
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._packages: set[str] = set()

    @property
    def typestore(self) -> Any:
        """Return the rosbags typestore with everything asked for so far."""
        return self._store

    def get(self, name: str) -> Definition:
        """Return the definition of 'package/msg/Name'; DefinitionError if there is none."""
        if name not in self._store.fielddefs:
            self._register(name.split('/')[0])
        if name not in self._store.fielddefs:
            places = ', '.join(map(str, self._prefixes)) or 'nowhere: AMENT_PREFIX_PATH is empty'
            raise DefinitionError(
                f'no definition of {name} (looked in {places}): source install/setup.bash')
        text, _ = self._store.generate_msgdef(name, ros_version=2)
        return Definition(name, text, self._store.hash_rihs01(name))

    def _register(self, package: str) -> None:
        if package in self._packages:
            return
        self._packages.add(package)
        types: dict[str, Any] = {}
        for path in self._files(package):
            types.update(get_types_from_msg(path.read_text(), f'{package}/msg/{path.stem}'))
        self._store.register(types)

    def _files(self, package: str) -> list[Path]:
        for prefix in self._prefixes:
            folder = prefix / 'share' / package / 'msg'
            if prefix.name == package and not folder.is_dir():
                folder = prefix / 'msg'
            if folder.is_dir():
                return sorted(folder.glob('*.msg'))
        return []


def starts_with_header(text: str) -> bool:
    """Say whether the first field of a definition is a header; constants are no fields."""
    for line in text.splitlines():
        code = line.split('#')[0]
        words = code.split()
        if len(words) >= 2 and '=' not in code:
            return words[0] in ('std_msgs/Header', 'std_msgs/msg/Header', 'Header')
    return False


@lru_cache(maxsize=128)
def typestore(schemas: frozenset[tuple[str, str]]) -> Any:
    """Return a rosbags typestore of exactly these (name, definition text) pairs.

    The bag's own definitions count, so bags of older message versions are read as they were
    written. Cached: generating the decoders costs tens of ms, and bags of one robot share them.
    """
    store = get_typestore(Stores.EMPTY)
    for name, text in sorted(schemas):
        types = get_types_from_msg(text, name)
        store.register({key: value for key, value in types.items() if key not in store.fielddefs})
    return store


@lru_cache(maxsize=128)
def rihs_of(name: str, text: str) -> str:
    """Return the RIHS01 hash of a type by its full definition text."""
    return str(typestore(frozenset(((name, text),))).hash_rihs01(name))

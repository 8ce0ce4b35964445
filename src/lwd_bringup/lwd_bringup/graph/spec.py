# SPDX-License-Identifier: Apache-2.0
"""What a graph is made of: frozen data, no behaviour beyond names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


class GraphError(ValueError):
    """A graph that must not be started; the message names the node, the value and the bound."""


@dataclass(frozen=True)
class Respawn:
    """What happens when a process dies by itself; times in s of wall time."""

    on_failure: bool = True
    delay: float = 0.5  # before the first restart; doubles with each further one
    max_delay: float = 10.0
    max_restarts: int = 5  # within `window`; then the process counts as failed
    window: float = 120.0  # a process that lives this long starts afresh


@dataclass(frozen=True)
class NodeSpec:
    """One ROS node. Namespaces and names without leading slash; topics relative to them."""

    package: str
    executable: str
    name: str
    namespace: str = ''
    parameters: Mapping[str, Any] = field(default_factory=dict)
    params_files: tuple[str, ...] = ()  # read first, `parameters` win
    remaps: tuple[tuple[str, str], ...] = ()
    process: str = ''  # nodes with the same name share a process; '' is one of its own
    lifecycle: bool = False  # a managed node; it configures and activates itself (`autostart`)
    publishes: tuple[str, ...] = ()  # topics that only one node may write
    respawn: Respawn = Respawn()
    niceness: int = 0  # of its process: how far it steps back for others on the machine
    ends_graph: bool = False  # when it has ended, the others have nothing left to do

    def __post_init__(self) -> None:
        object.__setattr__(self, 'parameters', MappingProxyType(dict(self.parameters)))

    @property
    def full_name(self) -> str:
        """Return the fully qualified name, e.g. '/robot1/arbiter'."""
        return '/' + '/'.join(part for part in (self.namespace, self.name) if part)

    @property
    def process_name(self) -> str:
        """Return the name of its process, e.g. 'robot1/arbiter'."""
        group = self.process or self.name
        return '/'.join(part for part in (self.namespace, group) if part)

    def resolve(self, topic: str) -> str:
        """Return the absolute name of one of the node's topics after its remaps."""
        topic = dict(self.remaps).get(topic, topic)
        return topic if topic.startswith('/') else '/' + '/'.join(
            part for part in (self.namespace, topic) if part
        )


@dataclass(frozen=True)
class Argument:
    """One deployment choice of a graph; the default's type is the argument's type."""

    name: str
    default: str | int | float | bool
    description: str
    choices: tuple[str, ...] = ()

    def parse(self, value: Any) -> str | int | float | bool:
        """Convert a launch or command-line string; raise GraphError naming value and type."""
        kind = type(self.default)
        if isinstance(value, str) and kind is not str:
            value = self._from_text(value.strip(), kind)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            raise GraphError(f"argument '{self.name}': {value!r} is not a {kind.__name__}")
        if self.choices and value not in self.choices:
            raise GraphError(
                f"argument '{self.name}': {value!r} is not one of {', '.join(self.choices)}"
            )
        return value

    def _from_text(self, text: str, kind: type) -> Any:
        if kind is bool:
            words = {'true': True, '1': True, 'false': False, '0': False}
            if text.lower() not in words:
                raise GraphError(f"argument '{self.name}': '{text}' is not true or false")
            return words[text.lower()]
        try:
            return kind(text)
        except ValueError as error:
            raise GraphError(f"argument '{self.name}': '{text}' is not a {kind.__name__}"
                             ) from error


@dataclass(frozen=True)
class Graph:
    """Nodes with every argument filled in; `processes` says which of them live together."""

    name: str
    arguments: Mapping[str, Any]
    nodes: tuple[NodeSpec, ...]

    def processes(self) -> dict[str, tuple[NodeSpec, ...]]:
        """Return the nodes by process, in the order in which they are started."""
        groups: dict[str, list[NodeSpec]] = {}
        for node in self.nodes:
            groups.setdefault(node.process_name, []).append(node)
        return {name: tuple(nodes) for name, nodes in groups.items()}


@dataclass(frozen=True)
class GraphTemplate:
    """A graph before its arguments are known."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    build: Callable[..., tuple[NodeSpec, ...]]

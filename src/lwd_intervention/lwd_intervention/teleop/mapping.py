# SPDX-License-Identifier: Apache-2.0
"""What each axis and button of a device means: a YAML file, read into indices of a Joy message.

A control is an axis ('left_y', reversed '-left_y') or a pair `{plus: NAME, minus: NAME}` of buttons
or one-sided axes. An action is a button or a chord `[first, second]` (all held, the last pressed
counts); so is each of the `reasons`, words that a press says. Names are those of the file's own
`axes` and `buttons`, in the order of the Joy message.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lwd_core.spec import check_unique, Fields, load_yaml, SpecError
from lwd_intervention.teleop import mapping_file as sections
from lwd_intervention.teleop.signals import Chord, DEVICES, Input, Layer, Speed


@dataclass(frozen=True)
class Mapping:
    """A device's meaning. `layers` by arm: what its sticks ask for in each layer."""

    name: str
    title: str
    device: str
    match: tuple[str, ...]
    axes: tuple[str, ...]
    buttons: tuple[str, ...]
    keys: tuple[str, ...]                       # of our window, appended to the buttons
    labels: dict[str, str]                      # what is printed on the device, by name
    deadzone: float
    curve: float
    speed: Speed
    deadman: dict[str, Input]                   # by arm
    layers: dict[str, dict[str, Layer]]         # [arm][layer name]
    actions: dict[str, Chord]                   # by name; "reason: WORDS" for the reasons

    @property
    def arms(self) -> tuple[str, ...]:
        """Return the arms that have a deadman, in file order."""
        return tuple(self.deadman)

    def label(self, name: str) -> str:
        """Return what is printed on the device for an axis or button."""
        return self.labels.get(name, name.replace('_', ' '))

    @classmethod
    def from_yaml(cls, path: str | Path) -> Mapping:
        """Read and validate a mapping file; SpecError names file, key, value and bound."""
        return cls.from_dict(load_yaml(path), Path(path).stem, str(path))

    @classmethod
    def from_dict(cls, data: Any, name: str, where: str) -> Mapping:
        """Validate plain data; `where` names its origin in errors."""
        fields = Fields(data, where)
        axes = tuple(sections.names(fields, 'axes', []))
        buttons = tuple(sections.names(fields, 'buttons'))
        keys = tuple(sections.names(fields, 'keys', []))
        known = sections.Known(axes, buttons + keys)
        check_unique(axes + buttons + keys, where)
        mapping = cls(
            name=name, title=fields.text('title', name), axes=axes, buttons=buttons, keys=keys,
            device=fields.choice('device', DEVICES),
            match=tuple(str(part).lower() for part in fields.sequence('match', [])),
            labels=sections.labels(fields, known),
            deadzone=sections.below_one(fields, 'deadzone', 0.1),
            curve=fields.number('curve', above=0.0, at_most=5.0, default=1.5),
            speed=sections.speed(fields), deadman=sections.deadman(fields, known),
            layers=sections.layers(fields, known), actions=sections.actions(fields, known))
        fields.done()
        _complete(mapping, where)
        return mapping


def _complete(mapping: Mapping, where: str) -> None:
    """Refuse two meanings of one button, and arms without a deadman."""
    meanings: dict[tuple[str, ...], str] = {}
    for name, chord in mapping.actions.items():
        buttons = tuple(signal.name for signal in chord)
        if buttons in meanings:
            raise SpecError(f'{where}: actions: {" + ".join(buttons)} means both '
                            f'{meanings[buttons]} and {name}')
        meanings[buttons] = name
    held = {signal.name for signal in mapping.deadman.values()}
    for name, chord in mapping.actions.items():
        if len(chord) == 1 and chord[0].name in held:
            raise SpecError(f'{where}: actions: {name}: {chord[0].name!r} is a deadman, '
                            'must be another button')
    for arm in mapping.layers:
        if arm and arm not in mapping.deadman:
            raise SpecError(f'{where}: arms: {arm!r} has no deadman; deadman has '
                            f'{", ".join(mapping.deadman)}')

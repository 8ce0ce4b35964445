# SPDX-License-Identifier: Apache-2.0
"""What each axis and button of a device means: a YAML file, read into indices of a Joy message.

A control is an axis ('left_y', reversed '-left_y') or a pair `{plus: NAME, minus: NAME}` of buttons
or one-sided axes. An action is a button or a chord `[first, second]` (all held, the last pressed
counts). Names are those of the file's own `axes` and `buttons`, in the order of the Joy message.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lwd_core.spec import check_number, check_unique, Fields, load_yaml, SpecError

COMPONENTS = ('x', 'y', 'z', 'rx', 'ry', 'rz', 'jaw')
DEVICES = ('gamepad', 'joystick', 'keyboard', 'none')   # how joy_node reads it; none: others do
ACTIONS = {
    'estop': 'EMERGENCY STOP', 'handback': 'hand back to the policy', 'start': 'start an episode '
    '(in ESTOP: release to HOLD)', 'success': 'label: success', 'failure': 'label: failure',
    'discard': 'discard the episode', 'frame': 'frame: base, tool, task',
    'layer': 'sticks: move / turn', 'slow': 'slow / fast', 'select_left': 'left arm',
    'select_right': 'right arm', 'select_both': 'both arms',
    'jaw_toggle': 'open / close the jaw',
}


@dataclass(frozen=True)
class Input:
    """One signal of a Joy message: `axes[index]` or `buttons[index]`, times `sign`."""

    name: str
    axis: bool
    index: int
    sign: float = 1.0

    def value(self, axes: Sequence[float], buttons: Sequence[int]) -> float:
        """Return the signal in [-1, 1]; the deadzone comes later."""
        if self.axis:
            raw = float(axes[self.index])
        else:  # keys of our window are missing where another node reads the device
            raw = float(self.index < len(buttons) and bool(buttons[self.index]))
        return self.sign * min(1.0, max(-1.0, raw))


@dataclass(frozen=True)
class Control:
    """One component of what the person asks for: `plus` minus `minus`, in [-1, 1]."""

    plus: Input
    minus: Input | None = None

    def value(self, axes: Sequence[float], buttons: Sequence[int]) -> float:
        """Return the deflection; with a `minus` both are one-sided."""
        plus = self.plus.value(axes, buttons)
        if self.minus is None:
            return plus
        return max(0.0, plus) - max(0.0, self.minus.value(axes, buttons))


@dataclass(frozen=True)
class Speed:
    """Speeds at full deflection, fast; `slow` is the share that remains in slow."""

    linear: float = 0.25      # m/s
    angular: float = 1.0      # rad/s
    jaw: float = 2.0          # fraction open per s
    slow: float = 0.3
    ramp: float = 0.15        # s from rest to full speed


Layer = dict[str, Control]    # by component


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
    actions: dict[str, tuple[Input, ...]]       # chord

    @property
    def arms(self) -> tuple[str, ...]:
        """Return the arms that have a deadman, in file order."""
        return tuple(self.deadman)

    @property
    def button_names(self) -> tuple[str, ...]:
        """Return the names of Joy.buttons: the device's, then our window's keys."""
        return self.buttons + self.keys

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
        axes = tuple(_names(fields, 'axes', []))
        buttons = tuple(_names(fields, 'buttons'))
        keys = tuple(_names(fields, 'keys', []))
        known = _Known(axes, buttons + keys)
        check_unique(axes + buttons + keys, where)
        mapping = cls(
            name=name, title=fields.text('title', name), axes=axes, buttons=buttons, keys=keys,
            device=fields.choice('device', DEVICES),
            match=tuple(str(part).lower() for part in fields.sequence('match', [])),
            labels=_labels(fields, known),
            deadzone=_below_one(fields, 'deadzone', 0.1),
            curve=fields.number('curve', above=0.0, at_most=5.0, default=1.5),
            speed=_speed(fields), deadman=_deadman(fields, known),
            layers=_layers(fields, known), actions=_actions(fields, known))
        fields.done()
        _complete(mapping, where)
        return mapping


class _Known:
    """The names of a file's signals."""

    def __init__(self, axes: tuple[str, ...], buttons: tuple[str, ...]) -> None:
        self.axes, self.buttons = axes, buttons

    def input(self, text: Any, where: str, button_only: bool = False) -> Input:
        """Return the signal that `text` names, '-' in front reverses it."""
        name = text[1:] if isinstance(text, str) and text.startswith('-') else text
        sign = 1.0 if name is text else -1.0
        if isinstance(name, str) and name in self.buttons and sign > 0.0:
            return Input(name, False, self.buttons.index(name))
        if isinstance(name, str) and name in self.axes and not button_only:
            return Input(name, True, self.axes.index(name), sign)
        known = self.buttons if button_only else (*self.axes, *self.buttons)
        raise SpecError(f'{where}: is {text!r}, must be one of {", ".join(known)}')


def _names(fields: Fields, key: str, default: Any = ...) -> list[str]:
    names = fields.sequence(key, default)
    for name in names:
        if not isinstance(name, str) or not name or name.startswith('-'):
            raise fields.error(key, f'has {name!r}, must be names (quote 1, y, n, on and off)')
    return names


def _section(fields: Fields, key: str, default: Any = ...) -> dict[str, Any]:
    value = fields.take(key, default)
    if not isinstance(value, Map):
        raise fields.error(key, f'is {value!r}, must be a mapping of keys')
    return dict(value)


def _labels(fields: Fields, known: _Known) -> dict[str, str]:
    labels = _section(fields, 'labels', {})
    for name in labels:
        known.input(name, f'{fields.where}: labels')
    return {name: str(label) for name, label in labels.items()}


def _below_one(fields: Fields, key: str, default: float) -> float:
    value = check_number(fields.take(key, default), f'{fields.where}: {key}', at_most=0.9)
    if value < 0.0:
        raise fields.error(key, f'is {value:g}, must be from 0 to 0.9')
    return value


def _speed(fields: Fields) -> Speed:
    inner = Fields(fields.take('speed', {}), f'{fields.where}: speed')
    base = Speed()
    speed = Speed(
        inner.number('linear', above=0.0, at_most=2.0, default=base.linear),
        inner.number('angular', above=0.0, at_most=6.0, default=base.angular),
        inner.number('jaw', above=0.0, at_most=20.0, default=base.jaw),
        inner.number('slow', above=0.0, at_most=1.0, default=base.slow),
        check_number(inner.take('ramp', base.ramp), f'{inner.where}: ramp', above=-1e-9,
                     at_most=2.0))
    inner.done()
    return speed


def _deadman(fields: Fields, known: _Known) -> dict[str, Input]:
    section = _section(fields, 'deadman')
    if not section:
        raise fields.error('deadman', 'is empty, must name a button for each arm')
    return {str(arm): known.input(name, f'{fields.where}: deadman: {arm}', button_only=True)
            for arm, name in section.items()}


def _layers(fields: Fields, known: _Known) -> dict[str, dict[str, Layer]]:
    """Take `layers` (the same for every arm) or `arms` (layers of each arm)."""
    common, own = fields.take('layers', None), fields.take('arms', None)
    if (common is None) == (own is None):
        raise SpecError(f'{fields.where}: give either layers (sticks shared by the selected arms) '
                        'or arms (sticks of each arm)')
    if own is None:
        return {'': _layer_set(common, known, f'{fields.where}: layers')}
    if not isinstance(own, Map):
        raise fields.error('arms', f'is {own!r}, must be a mapping of arms')
    return {str(arm): _layer_set(data, known, f'{fields.where}: arms: {arm}')
            for arm, data in own.items()}


def _layer_set(data: Any, known: _Known, where: str) -> dict[str, Layer]:
    if not isinstance(data, Map) or not data:
        raise SpecError(f'{where}: is {data!r}, must be a mapping of layers')
    return {str(name): _layer(layer, known, f'{where}: {name}') for name, layer in data.items()}


def _layer(data: Any, known: _Known, where: str) -> Layer:
    if not isinstance(data, Map) or not data:
        raise SpecError(f'{where}: is {data!r}, must map components ({", ".join(COMPONENTS)})')
    for component in data:
        if component not in COMPONENTS:
            raise SpecError(f'{where}: {component!r} is no component, must be one of '
                            f'{", ".join(COMPONENTS)}')
    return {name: _control(value, known, f'{where}: {name}') for name, value in data.items()}


def _control(value: Any, known: _Known, where: str) -> Control:
    if isinstance(value, Map):
        fields = Fields(value, where)
        control = Control(known.input(fields.take('plus'), f'{where}: plus'),
                          known.input(fields.take('minus'), f'{where}: minus'))
        fields.done()
        return control
    signal = known.input(value, where)
    if not signal.axis:
        raise SpecError(f'{where}: {value!r} is a button, must be an axis or '
                        '{plus: NAME, minus: NAME}')
    return Control(signal)


def _actions(fields: Fields, known: _Known) -> dict[str, tuple[Input, ...]]:
    actions: dict[str, tuple[Input, ...]] = {}
    where = f'{fields.where}: actions'
    for name, value in _section(fields, 'actions', {}).items():
        if name not in ACTIONS:
            raise SpecError(f'{where}: {name!r} is no action, must be one of {", ".join(ACTIONS)}')
        chord = value if isinstance(value, list) else [value]
        if not chord:
            raise SpecError(f'{where}: {name}: is empty, must name a button')
        actions[name] = tuple(known.input(button, f'{where}: {name}', button_only=True)
                              for button in chord)
    return actions


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

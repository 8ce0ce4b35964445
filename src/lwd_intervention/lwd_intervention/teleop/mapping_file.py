# SPDX-License-Identifier: Apache-2.0
"""The sections of a mapping file, read and checked; SpecError names file, key, value and bound."""

from __future__ import annotations

from collections.abc import Mapping as Map
from typing import Any

from lwd_core.spec import check_number, Fields, SpecError
from lwd_intervention.teleop.signals import (
    ACTIONS,
    Chord,
    COMPONENTS,
    Control,
    Input,
    Layer,
    REASON,
    Speed,
)


class Known:
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


def names(fields: Fields, key: str, default: Any = ...) -> list[str]:
    """Take a list of names of axes or buttons."""
    found = fields.sequence(key, default)
    for name in found:
        if not isinstance(name, str) or not name or name.startswith('-'):
            raise fields.error(key, f'has {name!r}, must be names (quote 1, y, n, on and off)')
    return found


def _section(fields: Fields, key: str, default: Any = ...) -> dict[str, Any]:
    value = fields.take(key, default)
    if not isinstance(value, Map):
        raise fields.error(key, f'is {value!r}, must be a mapping of keys')
    return dict(value)


def labels(fields: Fields, known: Known) -> dict[str, str]:
    """Take what is printed on the device."""
    found = _section(fields, 'labels', {})
    for name in found:
        known.input(name, f'{fields.where}: labels')
    return {name: str(label) for name, label in found.items()}


def below_one(fields: Fields, key: str, default: float) -> float:
    """Take a share from 0 to 0.9."""
    value = check_number(fields.take(key, default), f'{fields.where}: {key}', at_most=0.9)
    if value < 0.0:
        raise fields.error(key, f'is {value:g}, must be from 0 to 0.9')
    return value


def speed(fields: Fields) -> Speed:
    """Take the speeds at full deflection."""
    inner = Fields(fields.take('speed', {}), f'{fields.where}: speed')
    base = Speed()
    found = Speed(
        inner.number('linear', above=0.0, at_most=2.0, default=base.linear),
        inner.number('angular', above=0.0, at_most=6.0, default=base.angular),
        inner.number('jaw', above=0.0, at_most=20.0, default=base.jaw),
        inner.number('slow', above=0.0, at_most=1.0, default=base.slow),
        check_number(inner.take('ramp', base.ramp), f'{inner.where}: ramp', above=-1e-9,
                     at_most=2.0))
    inner.done()
    return found


def deadman(fields: Fields, known: Known) -> dict[str, Input]:
    """Take the deadman's button of each arm."""
    section = _section(fields, 'deadman')
    if not section:
        raise fields.error('deadman', 'is empty, must name a button for each arm')
    return {str(arm): known.input(name, f'{fields.where}: deadman: {arm}', button_only=True)
            for arm, name in section.items()}


def layers(fields: Fields, known: Known) -> dict[str, dict[str, Layer]]:
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


def _layer_set(data: Any, known: Known, where: str) -> dict[str, Layer]:
    if not isinstance(data, Map) or not data:
        raise SpecError(f'{where}: is {data!r}, must be a mapping of layers')
    return {str(name): _layer(layer, known, f'{where}: {name}') for name, layer in data.items()}


def _layer(data: Any, known: Known, where: str) -> Layer:
    if not isinstance(data, Map) or not data:
        raise SpecError(f'{where}: is {data!r}, must map components ({", ".join(COMPONENTS)})')
    for component in data:
        if component not in COMPONENTS:
            raise SpecError(f'{where}: {component!r} is no component, must be one of '
                            f'{", ".join(COMPONENTS)}')
    return {name: _control(value, known, f'{where}: {name}') for name, value in data.items()}


def _control(value: Any, known: Known, where: str) -> Control:
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


def actions(fields: Fields, known: Known) -> dict[str, Chord]:
    """Take `actions` and `reasons`: what presses ask for, and the words that others stand for."""
    found: dict[str, Chord] = {}
    where = f'{fields.where}: actions'
    for name, value in _section(fields, 'actions', {}).items():
        if name not in ACTIONS:
            raise SpecError(f'{where}: {name!r} is no action, must be one of {", ".join(ACTIONS)}')
        found[name] = _chord(value, known, f'{where}: {name}')
    where = f'{fields.where}: reasons'
    for words, value in _section(fields, 'reasons', {}).items():
        if not isinstance(words, str) or not words.strip():
            raise SpecError(f'{where}: {words!r} is no reason, must be words')
        found[f'{REASON}{words.strip()}'] = _chord(value, known, f'{where}: {words}')
    return found


def _chord(value: Any, known: Known, where: str) -> Chord:
    chord = value if isinstance(value, list) else [value]
    if not chord:
        raise SpecError(f'{where}: is empty, must name a button')
    return tuple(known.input(button, where, button_only=True) for button in chord)

# SPDX-License-Identifier: Apache-2.0
"""A mapping as text: what a person reads on the screen before he takes the device."""

from __future__ import annotations

from lwd_intervention.teleop.mapping import Mapping
from lwd_intervention.teleop.signals import ACTIONS, Control, Input, REASON

WORDS = {'x': ('forward', 'back'), 'y': ('left', 'right'), 'z': ('up', 'down'),
         'rx': ('roll right', 'roll left'), 'ry': ('tip down', 'tip up'),
         'rz': ('turn left', 'turn right'), 'jaw': ('open jaw', 'close jaw')}


def cheatsheet(mapping: Mapping) -> list[tuple[str, str]]:
    """Return rows (device side, meaning) in the order in which a person needs them."""
    rows = [(_deadman(mapping), 'HOLD to drive; let go: the robot holds')]
    for arm, layers in mapping.layers.items():
        for name, layer in layers.items():
            where = ' '.join(part for part in (arm, name if len(layers) > 1 else '') if part)
            rows += [(_control(mapping, control), f'{_words(part, control)}'
                      + (f'  ({where})' if where else '')) for part, control in layer.items()]
    for name, chord in mapping.actions.items():
        keys = ' + '.join(mapping.label(signal.name) for signal in chord)
        rows.append((keys, ACTIONS.get(name) or f'say why: {name.removeprefix(REASON)}'))
    return rows


def as_text(mapping: Mapping) -> str:
    """Return the mapping as a table for a terminal."""
    rows = cheatsheet(mapping)
    width = max(len(left) for left, _ in rows)
    lines = [f'  {left:<{width}}  {right}' for left, right in rows]
    return '\n'.join([f'{mapping.title}:', *lines])


def _deadman(mapping: Mapping) -> str:
    by_button: dict[str, list[str]] = {}
    for arm, signal in mapping.deadman.items():
        by_button.setdefault(mapping.label(signal.name), []).append(arm)
    if len(by_button) == 1:
        return next(iter(by_button))
    return ', '.join(f'{button} ({" and ".join(arms)} arm)' for button, arms in by_button.items())


def _control(mapping: Mapping, control: Control) -> str:
    if control.minus is None:
        return mapping.label(control.plus.name)
    return f'{mapping.label(control.plus.name)} / {mapping.label(control.minus.name)}'


def _words(component: str, control: Control) -> str:
    plus, minus = WORDS[component]
    reversed_ = control.minus is None and _sign(control.plus) < 0.0
    # An axis is named by its own directions: up and left are its positive ends.
    return f'{minus} / {plus}' if reversed_ else f'{plus} / {minus}'


def _sign(signal: Input) -> float:
    return signal.sign

# SPDX-License-Identifier: Apache-2.0
"""A Joy message read through a mapping: deadman, deflections per arm, and presses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lwd_intervention.arbiter.records import Vector
from lwd_intervention.teleop.mapping import Mapping
from lwd_intervention.teleop.signals import COMPONENTS


@dataclass(frozen=True)
class JoySample:
    """One sensor_msgs/Joy: stamp [ns], axes in [-1, 1], buttons 0 or 1."""

    stamp_ns: int
    axes: Sequence[float]
    buttons: Sequence[int]
    frame_id: str = ''


def deadman_held(mapping: Mapping, sample: JoySample) -> dict[str, bool]:
    """Return which arms' deadman is held."""
    return {arm: signal.value(sample.axes, sample.buttons) > 0.5
            for arm, signal in mapping.deadman.items()}


def deflections(mapping: Mapping, sample: JoySample, arm: str, layer: str) -> Vector:
    """Return what the sticks ask of an arm: [7] in [-1, 1], in the order of COMPONENTS.

    Beyond the deadzone an axis starts at zero, then follows the curve (1: linear, more: finer
    near the middle). A layer the arm lacks counts as its first one.
    """
    layers = mapping.layers.get(arm, mapping.layers.get('', {}))
    if not layers:
        return np.zeros(len(COMPONENTS))
    controls = layers.get(layer) or next(iter(layers.values()))
    raw = np.array([controls[name].value(sample.axes, sample.buttons) if name in controls else 0.0
                    for name in COMPONENTS])
    size = np.clip((np.abs(raw) - mapping.deadzone) / (1.0 - mapping.deadzone), 0.0, 1.0)
    return np.sign(raw) * size**mapping.curve


class Presses:
    """Turn held buttons into actions: once at the press, never for one held since before `block`.

    The first sample after a start, a loss or an episode's boundary only tells what is down: what
    is down then acts again after it was seen up in a sample stamped at or after the boundary.
    """

    def __init__(self, mapping: Mapping) -> None:
        """Start blocked: buttons that are down at the start mean nothing."""
        self._mapping = mapping
        self._down: dict[str, bool] = {}
        self._up_since: dict[str, bool] = {}
        self.block(0)

    def block(self, since_ns: int, keep: tuple[str, ...] = ()) -> None:
        """Let no press but those of `keep` act until it was seen up at or after `since_ns`."""
        self._since = since_ns
        for name in self._mapping.actions:
            if name not in keep:
                self._up_since[name] = False

    def take(self, sample: JoySample) -> list[str]:
        """Return the actions pressed in this sample."""
        pressed = []
        for name, chord in self._mapping.actions.items():
            down = all(signal.value(sample.axes, sample.buttons) > 0.5 for signal in chord)
            if not down and sample.stamp_ns >= self._since:
                self._up_since[name] = True
            if down and not self._down.get(name, False) and self._up_since.get(name, False):
                pressed.append(name)
            self._down[name] = down
        return _longest(pressed, self._mapping)


def _longest(pressed: list[str], mapping: Mapping) -> list[str]:
    """Return the actions less those whose buttons are part of a longer chord pressed with them."""
    sets = {name: {signal.name for signal in mapping.actions[name]} for name in pressed}
    return [name for name in pressed
            if not any(sets[name] < sets[other] for other in pressed)]

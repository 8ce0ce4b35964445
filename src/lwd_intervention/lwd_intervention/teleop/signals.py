# SPDX-License-Identifier: Apache-2.0
"""What a mapping is made of: signals of a Joy message, controls, speeds, actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
REASON = 'reason: '   # begins the actions that say why a person takes over; his words follow


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
Chord = tuple[Input, ...]     # all held; the last pressed counts

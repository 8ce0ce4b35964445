# SPDX-License-Identifier: Apache-2.0
"""Whether the person's device may be trusted: the loss rules, on the robot's clock.

Every rule fails towards a stop. Times are ROS time: in a simulation that stands still nothing gets
older, and nothing moves either.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

from lwd_core.clock import NS_PER_S
from lwd_intervention.teleop.controls import JoySample
from lwd_intervention.teleop.mapping import Mapping


@dataclass(frozen=True)
class HealthConfig:
    """Bounds of trust in s."""

    max_age: float = 0.15       # of the newest message, by its stamp and by its arrival
    max_ahead: float = 0.15     # a stamp from the future hides how old a message is
    frozen_after: float = 3.0   # sticks held away from the middle without any change; 0: never


class Health:
    """Follows one device; `take` each message, ask `trouble` at each tick."""

    def __init__(self, mapping: Mapping, config: HealthConfig | None = None) -> None:
        """Start without a message: not to be trusted yet."""
        self.config = config or HealthConfig()
        self._mapping = mapping
        self.messages = 0                    # taken, sound or not
        self._newest: int | None = None      # stamp
        self._arrived = 0
        self._fault = ''
        self._axes: tuple[float, ...] = ()
        self._changed = 0

    @property
    def heard(self) -> bool:
        """Tell whether there was any message."""
        return self._newest is not None

    @property
    def newest_ns(self) -> int:
        """Return the newest stamp; -1 before the first message."""
        return -1 if self._newest is None else self._newest

    def age(self, now_ns: int) -> float:
        """Return the seconds since the newest message, by the older of stamp and arrival."""
        if self._newest is None:
            return math.inf
        return max(now_ns - self._newest, now_ns - self._arrived) / NS_PER_S

    def take(self, sample: JoySample, now_ns: int) -> str:
        """Take a message; return what is wrong with it, or ''."""
        self.messages += 1
        self._fault = self._judge(sample, now_ns)
        stamp = sample.stamp_ns
        if self._newest is not None and stamp < self._newest and self.age(now_ns) > 1.0:
            self._newest = stamp             # the device's clock was set back: start anew
        self._newest = stamp if self._newest is None else max(self._newest, stamp)
        self._arrived = now_ns
        axes = (*map(float, sample.axes), *map(float, sample.buttons))
        if axes != self._axes:
            self._axes, self._changed = axes, now_ns
        return self._fault

    def _judge(self, sample: JoySample, now_ns: int) -> str:
        axes, buttons = len(self._mapping.axes), len(self._mapping.buttons)
        if not sample.axes and not sample.buttons:
            return 'device unplugged'
        if len(sample.axes) < axes or len(sample.buttons) < buttons:
            return (f'Joy has {len(sample.axes)} axes and {len(sample.buttons)} buttons, mapping '
                    f'{self._mapping.name} needs {axes} and {buttons}; choose another mapping')
        for name, value in zip(self._mapping.axes, sample.axes):
            if not math.isfinite(value):
                return f'axis {name} is {value}'
        ahead = (sample.stamp_ns - now_ns) / NS_PER_S
        if ahead > self.config.max_ahead:
            return (f"stamp is {ahead:.2f} s ahead of the robot's clock; "
                    'synchronise the clocks (chrony)')
        if -ahead > self.config.max_age:
            word = ('its stamp stands still' if sample.stamp_ns == self._newest
                    else 'messages come late')
            return f'{word}: this one is {-ahead:.2f} s old'
        return ''

    def trouble(self, now_ns: int, moving: bool = False) -> str:
        """Return why the device is not to be trusted now, or ''.

        moving: the sticks ask for motion; then the device must show signs of life.
        """
        if self._newest is None:
            return 'no message from a device yet'
        if self._fault:
            return self._fault
        limit = self.config.max_age
        if (age := (now_ns - self._arrived) / NS_PER_S) > limit:
            return f'silent for {age:.2f} s'
        if (age := (now_ns - self._newest) / NS_PER_S) > limit:
            return f'its stamp stands still: newest is {age:.2f} s old'
        frozen = (now_ns - self._changed) / NS_PER_S
        # A key held down gives no further sign of life; an axis held by a hand does.
        if moving and self._mapping.axes and 0.0 < self.config.frozen_after < frozen:
            return (f'no axis or button changed for {frozen:.1f} s while moving: '
                    'a wireless device out of reach looks like that')
        return ''

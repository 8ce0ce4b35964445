# SPDX-License-Identifier: Apache-2.0
"""Devices read through SDL (pygame), in the layouts of ROS's joy and spacenav nodes.

SDL wants all calls from one thread: the one that calls `poll`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import os
from typing import Any, Protocol

from lwd_intervention.teleop.building import best_match
from lwd_intervention.teleop.mapping import Mapping

CONTROLLER_AXES, CONTROLLER_BUTTONS = 6, 21
FULL = 32767.0
# SpaceMouse: x right, y towards the person, z down, then turns about them; ours: x forward, y left,
# z up, as spacenav_node has it.
SPACEMOUSE = ((1, -1.0), (0, -1.0), (2, -1.0), (4, -1.0), (3, -1.0), (5, -1.0))


@dataclass(frozen=True)
class Reading:
    """What a device shows now: axes in [-1, 1], left, up and forward positive; buttons 0 or 1."""

    device: str
    axes: tuple[float, ...]
    buttons: tuple[int, ...]


class Device(Protocol):
    """One way of reading a device."""

    def poll(self) -> Reading | None:
        """Return the present state, None while nothing is plugged in."""

    def missing(self) -> str:
        """Return what the person can do while nothing is plugged in."""

    def close(self) -> None:
        """Let go of the device."""


def start_sdl(window: bool) -> Any:
    """Return pygame with SDL's device support started; without a window also without a display."""
    os.environ.setdefault('PYGAME_HIDE_SUPPORT_PROMPT', '1')
    # A pad must go on working while another window has the focus.
    os.environ.setdefault('SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS', '1')
    if not window:
        os.environ.setdefault('SDL_VIDEODRIVER', 'dummy')
    import pygame
    pygame.display.init()
    pygame.joystick.init()
    from pygame._sdl2 import controller
    controller.init()
    return pygame


class SdlPads:
    """The gamepad or joystick that fits: by part of its name, or by the mappings' `match`."""

    def __init__(self, pygame: Any, mappings: Sequence[Mapping], name: str = '') -> None:
        """Take the mappings that may be meant; `name`: part of the device's name, '' any."""
        from pygame._sdl2 import controller
        self._pygame, self._controller = pygame, controller
        self._mappings, self._name = list(mappings), name.lower()
        self._open: Any = None
        self._raw = False
        self._seen: list[str] = []

    def poll(self) -> Reading | None:
        """Return the device's state; looks for one while there is none."""
        self._pygame.event.pump()
        if self._open is not None and not self._attached():
            self.close()
        if self._open is None:
            self._find()
        if self._open is None:
            return None
        return self._read_raw() if self._raw else self._read_controller()

    def missing(self) -> str:
        """Say what SDL sees."""
        seen = f'SDL sees {", ".join(self._seen)}' if self._seen else 'SDL sees no device'
        otherwise = ('use --teleop keyboard' if has_display() else
                     'watch the scripted operator: lwd up sim --operator supervise')
        return (f'no gamepad{" called " + self._name if self._name else ""}: plug one in '
                f'({seen}; where it is plugged in, this user must be in the group input to read '
                f'/dev/input/event*), or {otherwise}')

    def _attached(self) -> bool:
        return bool(self._open.get_init() if self._raw else self._open.attached())

    def _find(self) -> None:
        joystick = self._pygame.joystick
        self._seen = []
        for index in range(joystick.get_count()):
            pad = self._controller.is_controller(index)
            device: Any = self._controller.Controller(index) if pad else joystick.Joystick(index)
            name = device.name if pad else device.get_name()
            self._seen.append(name)
            if self._wanted(name, pad):
                self._open, self._raw, self._device = device, not pad, name
                return
            device.quit()

    def _wanted(self, name: str, pad: bool) -> bool:
        if self._name and self._name not in name.lower():
            return False
        if pad:
            return any(mapping.device == 'gamepad' for mapping in self._mappings)
        raw = [mapping for mapping in self._mappings if mapping.device == 'joystick']
        if self._name or not raw:
            return bool(raw)
        return any(part in name.lower() for mapping in raw for part in mapping.match)

    def _read_controller(self) -> Reading:
        # SDL: right, down and pressed positive; ROS: left and up positive, pressed negative.
        axes = tuple(-max(-1.0, self._open.get_axis(k) / FULL) for k in range(CONTROLLER_AXES))
        buttons = tuple(int(self._open.get_button(k)) for k in range(CONTROLLER_BUTTONS))
        return Reading(self._device, axes, buttons)

    def _read_raw(self) -> Reading:
        raw = [self._open.get_axis(k) for k in range(self._open.get_numaxes())]
        axes = tuple(sign * raw[index] for index, sign in SPACEMOUSE) if len(raw) >= 6 else \
            tuple(raw)
        buttons = tuple(int(self._open.get_button(k)) for k in range(self._open.get_numbuttons()))
        return Reading(self._device, axes, buttons)

    def mapping(self) -> Mapping:
        """Return the mapping of the device that is open."""
        return best_match(self._mappings, self._device)

    def close(self) -> None:
        """Let go of the device."""
        if self._open is not None:
            self._open.quit()
        self._open = None


class SdlKeyboard:
    """The keys of a mapping, read while our window has the focus; else all count as released."""

    def __init__(self, pygame: Any, keys: Sequence[str]) -> None:
        """Look the names up; raises ValueError naming one that SDL does not know."""
        self._pygame = pygame
        self._codes = [_key_code(pygame, key) for key in keys]

    def poll(self) -> Reading | None:
        """Return one button for each key."""
        self._pygame.event.pump()
        return Reading('keyboard', (), self.pressed())

    def pressed(self) -> tuple[int, ...]:
        """Return the keys' states; all up without the focus."""
        if not self._pygame.key.get_focused():
            return (0,) * len(self._codes)
        state = self._pygame.key.get_pressed()
        return tuple(int(state[code]) for code in self._codes)

    def missing(self) -> str:
        """A keyboard is always there."""
        return 'no keyboard'

    def close(self) -> None:
        """Nothing is held."""


def _key_code(pygame: Any, key: str) -> int:
    try:
        return int(pygame.key.key_code(key))
    except ValueError as error:
        raise ValueError(f'key {key!r} is no name of a key that SDL knows (a, 1, space, left '
                         'shift, return, ...)') from error


def has_display() -> bool:
    """Tell whether a window would be seen."""
    return bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))

# SPDX-License-Identifier: Apache-2.0
"""The window: the robot's picture, who drives, and what each button means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIZE = (1280, 640)
PICTURE = (640, 480)
BACK, TEXT, QUIET = (24, 26, 30), (230, 232, 235), (140, 146, 156)
MODE_COLOURS = {'POLICY': (70, 130, 220), 'HUMAN': (60, 170, 90), 'HOLD': (210, 150, 40),
                'ESTOP': (220, 50, 50)}
LINE = 19


@dataclass
class Shown:
    """What the window shows; all text."""

    title: str = 'LWD teleoperation'
    mode: str = ''
    mode_reason: str = ''
    task: str = ''
    teleop: str = ''
    warning: str = ''
    rows: list[tuple[str, str]] = field(default_factory=list)   # device side, meaning
    image: Any = None                                            # RGB uint8 [H, W, 3]


class Panel:
    """A pygame window; `draw` from the thread that polls the devices."""

    def __init__(self, pygame: Any) -> None:
        """Open the window."""
        self._pygame = pygame
        pygame.font.init()
        self._screen = pygame.display.set_mode(SIZE, pygame.RESIZABLE)
        self._font = pygame.font.Font(None, 22)
        self._large = pygame.font.Font(None, 40)

    def draw(self, shown: Shown) -> None:
        """Show the present state."""
        pygame, screen = self._pygame, self._screen
        pygame.display.set_caption(shown.title)
        screen.fill(BACK)
        pygame.draw.rect(screen, MODE_COLOURS.get(shown.mode, QUIET), (0, 0, PICTURE[0], 54))
        self._write(shown.mode or 'waiting for the robot', (12, 12), (255, 255, 255), self._large)
        self._write(shown.mode_reason, (200, 20), (255, 255, 255))
        if shown.image is not None:
            screen.blit(self._picture(shown.image), (0, 58))
        below = 58 + PICTURE[1] + 8
        self._write(shown.task, (12, below), TEXT)
        self._write(shown.teleop, (12, below + LINE + 4), TEXT)
        self._write(shown.warning, (12, below + 2 * (LINE + 4)), (255, 130, 90))
        for index, (left, right) in enumerate(shown.rows):
            self._write(left, (PICTURE[0] + 16, 12 + index * LINE), TEXT)
            self._write(right, (PICTURE[0] + 236, 12 + index * LINE), QUIET)
        pygame.display.flip()

    def closed(self) -> bool:
        """Tell whether the person closed the window."""
        return any(event.type == self._pygame.QUIT for event in self._pygame.event.get())

    def _write(self, text: str, at: tuple[int, int], colour: tuple[int, int, int],
               font: Any = None) -> None:
        if text:
            self._screen.blit((font or self._font).render(text, True, colour), at)

    def _picture(self, image: Any) -> Any:
        pygame = self._pygame
        surface = pygame.surfarray.make_surface(np.swapaxes(np.asarray(image), 0, 1))
        return surface if surface.get_size() == PICTURE else pygame.transform.smoothscale(
            surface, PICTURE)

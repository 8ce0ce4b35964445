# SPDX-License-Identifier: Apache-2.0
"""The terminal view: the operator's view in panels, and a few keys that ask for services."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any, ClassVar, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Footer, Static

from lwd_bringup.operate.view import ALARM, Line, OK, OperatorView, WARN

REFRESH = 0.1  # s
STYLES = {OK: '', WARN: 'bold yellow', ALARM: 'bold white on red'}
BACKGROUNDS = {'POLICY': 'darkgreen', 'HUMAN': 'darkblue', 'HOLD': 'darkorange', 'ESTOP': 'red'}


class Robot(Protocol):
    """What the keys ask for; every answer goes to `said` in words."""

    def request(self, mode: str, said: Callable[[str], None]) -> None:
        """Ask the arbiter for 'HOLD', 'ESTOP' or 'POLICY'."""

    def label(self, episode_id: str, outcome: str, said: Callable[[str], None]) -> None:
        """Label an episode 'success', 'failure' or 'discarded'."""


class OperateApp(App[None]):
    """Read the view ten times a second; never wait for the robot."""

    CSS = '''
    #mode { height: 3; content-align: center middle; text-style: bold; }
    #rows, #happened, #alarms { padding: 0 1; height: auto; }
    #alarms { min-height: 1; }
    #happened { border-top: solid grey; }
    '''
    BINDINGS: ClassVar[list[Any]] = [
        Binding('e', 'mode("ESTOP")', 'e-stop', priority=True),
        Binding('h', 'mode("HOLD")', 'hold / release'), Binding('b', 'mode("POLICY")', 'hand back'),
        Binding('s', 'label("success")', 'success'), Binding('f', 'label("failure")', 'failure'),
        Binding('d', 'label("discarded")', 'discard'), Binding('q', 'quit', 'quit')]

    def __init__(
        self, view: OperatorView, robot: Robot | None = None,
        wall: Callable[[], float] = time.monotonic, alive: Callable[[], bool] = lambda: True,
    ) -> None:
        """Show `view`; without a robot the keys only say that nobody listens.

        alive: tells whether `view` is still fed; a screen that stands still must not stay up.
        """
        super().__init__()
        self.view, self._robot, self._wall, self._alive = view, robot, wall, alive
        self._rung = view.bells

    def compose(self) -> ComposeResult:
        """Lay out mode, rows, alarms, history and keys."""
        with Vertical():
            yield Static(id='mode')
            yield Static(id='rows')
            yield Static(id='alarms')
            yield Static(id='happened')
        yield Footer()

    def on_ready(self) -> None:
        """Start to refresh."""
        self.title = f'lwd operate {self.view.robot}'
        self.set_interval(REFRESH, self.refresh_view)
        self.refresh_view()

    def refresh_view(self) -> None:
        """Show the newest state; ring once for each HOLD and ESTOP since the last look."""
        if not self.query('#alarms'):
            return  # not laid out yet, or closing
        if not self._alive():
            self.exit(return_code=1)
            return
        wall = self._wall()
        mode = self.query_one('#mode', Static)
        mode.update(Text(f'{self.view.robot}   {self.view.mode}'))
        mode.styles.background = BACKGROUNDS.get(self.view.mode, 'grey')
        self.query_one('#rows', Static).update(_rows(self.view.lines(wall)))
        self.query_one('#alarms', Static).update(
            Text('\n'.join(self.view.alarms(wall)), STYLES[ALARM]))
        self.query_one('#happened', Static).update(Text('\n'.join(list(self.view.happened)), 'dim'))
        if self.view.bells > self._rung:
            self._rung = self.view.bells
            self.bell()

    def action_mode(self, mode: str) -> None:
        """Ask for a mode."""
        if self._robot is not None:
            self._robot.request(mode, self._said)

    def action_label(self, outcome: str) -> None:
        """Label the episode that is on the screen, by its id: never the next one."""
        if not self.view.episode_id:
            self._said('no episode to label; relabel finished ones with `lwd episodes label`')
        elif self._robot is not None:
            self._robot.label(self.view.episode_id, outcome, self._said)

    def _said(self, text: str) -> None:
        self.view.happened.append(text)


def _rows(lines: list[Line]) -> Text:
    text = Text()
    for line in lines:
        text.append(f'{line.label:>10}  ', 'dim')
        text.append(f'{line.text}\n', STYLES[line.level])
    return text

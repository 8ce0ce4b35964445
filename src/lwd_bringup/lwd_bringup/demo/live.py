# SPDX-License-Identifier: Apache-2.0
"""What one sees while it runs: a live table on a terminal, plain lines elsewhere."""

from collections.abc import Callable
import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lwd_bringup.demo.state import DemoState
from lwd_bringup.demo.stats import moving_mean
from lwd_bringup.runner import State

REFRESH_S, PLAIN_S = 0.25, 5.0
RECENT = 20  # episodes in a moving mean
_SPARKS = '▁▂▃▄▅▆▇█'


class LiveView:
    """Show a DemoState; `update` is cheap and may be called often."""

    def __init__(self, state: DemoState, title: str, console: Console | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._state, self._title, self._clock = state, title, clock
        self._console = console or Console(file=sys.stdout)
        self._live: Live | None = None
        self._done: list[tuple[str, float]] = []
        self._phase, self._budget, self._began = '', 0.0, clock()
        self._start, self._shown = clock(), -PLAIN_S
        self._note = ''

    def __enter__(self) -> 'LiveView':
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def begin(self, phase: str, budget: float) -> None:
        """Enter a phase that may take `budget` s."""
        self._phase, self._budget, self._began, self._note = phase, budget, self._clock(), ''
        if self._live is None:
            self.say(f'{phase}: up to {budget:.0f} s')

    def end(self, result: str) -> None:
        """Leave the phase, saying what came of it."""
        took = self._clock() - self._began
        self._done.append((self._phase, took))
        self.say(f'{self._phase}: {result} ({took:.0f} s)')

    def say(self, line: str) -> None:
        """Print a line that stays."""
        stamp = f'[{_clock_text(self._clock() - self._start)}]'
        self._console.print(f'{stamp} {line}', highlight=False, markup=False,
                            soft_wrap=True)

    def note(self, text: str) -> None:
        """Show a short remark beside the phase until the next one begins."""
        self._note = text
        self.update(force=True)

    def update(self, force: bool = False) -> None:
        """Draw if it is time to."""
        now = self._clock()
        every = REFRESH_S if self._live is not None else PLAIN_S
        if now - self._shown < every and not (force and self._live is not None):
            return
        self._shown = now
        if self._live is not None:
            self._live.update(self.render(), refresh=True)
        else:
            self.say(self.line())

    def render(self) -> Group:
        """Return the picture for a terminal."""
        return Group(self._header(), self._robots(), self._learner(), self._processes())

    def line(self) -> str:
        """Return the state in one line."""
        state, learner = self._state, self._state.learner
        episodes = state.of_phase(self._phase)
        parts = [self._phase]
        if episodes:
            parts.append(f'{len(episodes)} episodes')
            recent = episodes[-RECENT:]
            parts.append(f'success {sum(e.outcome == "success" for e in recent) / len(recent):.2f}')
            parts.append(f'takeovers {sum(e.takeovers for e in recent) / len(recent):.2f}')
        if learner:
            parts.append(f"learner step {learner['step']}")
            parts.append(f"published {learner['checkpoints_published']}")
        steps = sorted({view.checkpoint_step for view in state.robots.values() if view.checkpoint})
        if steps:
            parts.append('robots at step ' + '/'.join(map(str, steps)))
        for key, text in state.progress.items():
            parts.append(f'{key} {text}')
        return ' | '.join(parts)

    def _header(self) -> Text:
        text = Text(f'\n{self._title}  ', style='bold')
        for name, took in self._done:
            text.append(f'✔ {name} {_clock_text(took)}  ', style='green not bold')
        spent = self._clock() - self._began
        text.append(f'● {self._phase} {_clock_text(spent)} / {_clock_text(self._budget)}',
                    style='bold cyan')
        text.append(f'  {self._note}\n', style='dim not bold')
        return text

    def _robots(self) -> Table:
        table = Table(box=None, header_style='dim', padding=(0, 2, 0, 0))
        for column in ('robot', 'episode', 'who drives', 'task', 'policy step', 'episodes',
                       f'success (last {RECENT})', 'takeovers'):
            table.add_column(column, no_wrap=True)
        for name, view in sorted(self._state.robots.items()):
            own = [e for e in self._state.of_phase(self._phase) if e.robot == name]
            colour = {'human': 'yellow', 'policy': 'green', 'estop': 'red'}.get(view.mode, 'dim')
            table.add_row(
                name, view.phase, Text(view.mode or '-', style=colour), view.task or '-',
                str(view.checkpoint_step) if view.checkpoint else '-', str(len(own)),
                sparkline([float(e.outcome == 'success') for e in own]),
                _mean([float(e.takeovers) for e in own[-RECENT:]]))
        return table

    def _learner(self) -> Text:
        learner, text = self._state.learner, Text()
        if learner:
            text.append('\nlearner  ', style='dim')
            text.append(f"{learner['phase']}  step {learner['step']}  "
                        f"{_number(learner['updates_per_second'])} updates/s  episodes "
                        f"{learner['episodes_offline']} + {learner['episodes_online']}  "
                        f"tau {_number(learner['tau'])}  published "
                        f"{learner['checkpoints_published']}")
        for key, value in self._state.progress.items():
            text.append(f'\n{key}  ', style='dim')
            text.append(value)
        return text

    def _processes(self) -> Text:
        health = self._state.health
        running = sum(item.state is State.RUNNING for item in health)
        text = Text(f'\n{running} of {len(health)} processes run', style='dim')
        for item in health:
            if item.restarts or item.state in (State.BACKOFF, State.FAILED):
                text.append(f'  {item.name} {item.state.value}, {item.restarts} restarts',
                            style='red')
        lost = self._state.total('lost_messages')
        late = self._state.total('late_ticks')
        text.append(f'; late ticks {late}, lost messages {lost}', style='dim')
        return text


def sparkline(values: list[float], window: int = RECENT, width: int = 16) -> str:
    """Return a moving mean as text, e.g. '▂▃▅▇ 0.85'."""
    if not values:
        return '-'
    means = moving_mean(values, window)
    step = max(1, len(means) // width)
    picked = means[::-step][:width][::-1]
    marks = ''.join(_SPARKS[round(value * (len(_SPARKS) - 1))] for value in picked)
    return f'{marks} {means[-1]:.2f}'


def _mean(values: list[float]) -> str:
    return f'{sum(values) / len(values):.2f}' if values else '-'


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'


def _clock_text(seconds: float) -> str:
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'

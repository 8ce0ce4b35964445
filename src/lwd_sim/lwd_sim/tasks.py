# SPDX-License-Identifier: Apache-2.0
"""The task suite as data: which items lie where at the start, and which goals make a success.

A task is an ordered list of goals; success is sparse: every item rests on its goal, let go. A new
task is one entry in TASKS (and its instruction in config/tasks/sim.yaml).
"""
from dataclasses import dataclass

import numpy as np

from lwd_sim.scene import Item, ITEMS


@dataclass(frozen=True)
class Slot:
    """A place on a surface: centre (x, y) and the surface's height z [m]."""

    position: tuple[float, float, float]
    tolerance: tuple[float, float] = (0.10, 0.045)   # m, half widths in x and y
    surface: str = 'shelf0'


SLOTS = {
    'lower_left': Slot((-.2, .46, .06)),
    'lower_right': Slot((.2, .46, .06), (.16, .05)),
    'lower_middle': Slot((0., .46, .06), (.12, .05)),
    'upper_left': Slot((-.2, .565, .16), surface='shelf1'),
    'upper_right': Slot((.2, .565, .16), surface='shelf1'),
}


@dataclass(frozen=True)
class Goal:
    """One item to be brought to one slot, by one arm, from arm to arm, or by both together."""

    item: str
    slot: str
    how: str                    # 'single', 'handover' or 'both'
    arms: tuple[str, ...]       # single: (arm,); handover: (giver, taker)


@dataclass(frozen=True)
class Start:
    """Ranges an item's start is drawn from: x, y [m] and yaw [rad]."""

    x: tuple[float, float]
    y: tuple[float, float]
    yaw: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Task:
    """A task: its goals in order, and the start of every item in its scene."""

    name: str
    goals: tuple[Goal, ...]
    starts: tuple[tuple[str, Start], ...]
    time_limit: int             # control steps
    usual_time: int             # control steps the expert takes

    @property
    def items(self) -> tuple[Item, ...]:
        """Return the items of the scene in the order of their free joints."""
        return tuple(ITEMS[name] for name, _ in self.starts)

    def sample(self, rng: np.random.Generator) -> dict[str, tuple[float, float, float]]:
        """Return a start (x, y, yaw) for every item."""
        return {name: (rng.uniform(*start.x), rng.uniform(*start.y), rng.uniform(*start.yaw))
                for name, start in self.starts}


TASKS = {task.name: task for task in (
    Task('place', (Goal('milk', 'lower_left', 'single', ('left',)),),
         (('milk', Start((-.28, -.12), (.26, .36), (-.3, .3))),), 250, 65),
    Task('crate', (Goal('crate', 'lower_middle', 'both', ('left', 'right')),),
         (('crate', Start((-.04, .04), (.27, .33), (-.1, .1))),), 350, 65),
    Task('handover', (Goal('pasta', 'lower_right', 'handover', ('left', 'right')),),
         (('pasta', Start((-.24, -.14), (.28, .36), (-.15, .15))),), 450, 95),
)}


def get_task(name: str) -> Task:
    """Return a task by name; raise ValueError naming those that exist."""
    if name not in TASKS:
        raise ValueError(f'task {name!r} is unknown; tasks are {", ".join(TASKS)}')
    return TASKS[name]

# SPDX-License-Identifier: Apache-2.0
"""What a task consists of, as data: starts, goals in order, and the places where items belong."""
from dataclasses import dataclass

import numpy as np

from lwd_sim.props import Item, ITEMS

PITCH = np.deg2rad(25)       # of a gripper from the front: straight down is singular for this wrist
STEEP = np.deg2rad(45)       # from above: into crates and boxes


@dataclass(frozen=True)
class Slot:
    """A place on a surface: centre (x, y) and the surface's height z [m].

    `frame` names the item (a crate, a tray) whose frame the position is given in; '' is the cell's.
    `front`: an item must be in line with the slot in x before it goes beyond this y [m].
    """

    position: tuple[float, float, float]
    tolerance: tuple[float, float] = (0.10, 0.045)   # m, half widths in x and y
    surface: str = 'shelf0'                          # what it rests on, unless in a frame
    frame: str = ''
    clearance: float = 0.05                          # m above the surface while carrying there
    front: float | None = None


@dataclass(frozen=True)
class Goal:
    """One item to be brought to one slot, by one arm, from arm to arm, or by both together.

    `how` 'door': the item is a door's handle, the goal is reached at the angle `opened` [rad].
    `serves`: the goal is only there for as many goals after it and not needed once they are
    reached (a lid is put aside to fill the box); 0: it must hold at the end.
    """

    item: str
    slot: str | Slot            # a name in SLOTS, or the place itself
    how: str                    # 'single', 'handover', 'both' or 'door'
    arms: tuple[str, ...]       # single, door: (arm,); handover: (giver, taker)
    pitch: float = PITCH        # rad, of the gripper
    stage: str = ''             # the sub-step that is scored when it is reached; '': none
    serves: int = 0
    opened: float = 0.0         # rad


@dataclass(frozen=True)
class Start:
    """Ranges an item's start is drawn from: x, y [m] and yaw [rad]; a door has its yaw only.

    `on` names the item it stands on, with x and y in that item's frame.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    yaw: tuple[float, float] = (0.0, 0.0)
    z: float = 0.0              # m, height of what it stands on
    on: str = ''


@dataclass(frozen=True)
class Task:
    """A task: its goals in order, and the start of every item in its scene."""

    name: str
    goals: tuple[Goal, ...]
    starts: tuple[tuple[str, Start], ...]
    time_limit: int             # control steps
    usual_time: int             # control steps the expert takes
    fixtures: tuple[str, ...] = ('shelves',)    # furniture beside the table
    shuffled: tuple[tuple[str, ...], ...] = ()  # groups of items whose starts are dealt at random
    sleep: bool = False         # items that lie still are not simulated until they are touched
    travel: float = 0.0         # m, height of the tool on its way to an item aside: over the walls

    @property
    def items(self) -> tuple[Item, ...]:
        """Return the items of the scene in the order of their joints."""
        return tuple(ITEMS[name] for name, _ in self.starts)

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of the scored sub-steps, in order; none for a binary task."""
        return tuple(goal.stage for goal in self.goals if goal.stage)

    def sample(self, rng: np.random.Generator) -> dict[str, tuple[float, float, float]]:
        """Return a start (x, y, yaw) in the cell's frame for every item."""
        starts = {name: (rng.uniform(*start.x), rng.uniform(*start.y), rng.uniform(*start.yaw))
                  for name, start in self.starts}
        for group in self.shuffled:
            dealt = [starts[group[index]] for index in rng.permutation(len(group))]
            starts.update(zip(group, dealt))
        for name, start in self.starts:
            if start.on:
                starts[name] = _on_top(starts[start.on], starts[name])
        return starts

    def level(self, name: str) -> float:
        """Return the height of what the item stands on at the start [m]."""
        return dict(self.starts)[name].z


def _on_top(base: tuple[float, float, float], relative: tuple[float, float, float]
            ) -> tuple[float, float, float]:
    (x, y, yaw), (dx, dy, turn) = base, relative
    c, s = np.cos(yaw), np.sin(yaw)
    return x + c * dx - s * dy, y + s * dx + c * dy, yaw + turn

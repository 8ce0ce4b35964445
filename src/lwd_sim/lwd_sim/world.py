# SPDX-License-Identifier: Apache-2.0
"""The cell with its task: where the items are, who touches them, which goals are reached."""
import numpy as np

from lwd_sim.cell import Cell
from lwd_sim.names import ARMS
from lwd_sim.scene import Item, SURFACES
from lwd_sim.tasks import Goal, SLOTS

REST_SPEED = 0.03        # m/s, slower is at rest
REST_GAP = 0.008         # m between an item's lowest point and the surface it lies on
NEAR = 0.015            # m, an item that leans or slips is still carried by what is so near below


class World(Cell):
    """One simulated robot, its scene, and the success of its task."""

    def step(self, action: np.ndarray) -> bool:
        """Apply an action [14] (rad; jaws: fraction open) for one control step; return success."""
        super().step(action)
        return self.success()

    # -- items --------------------------------------------------------------------------------

    def item(self, name: str) -> Item:
        """Return the description of an item of this scene."""
        return self._items[name]

    def item_pose(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return an item's centre [3] and rotation [3, 3]."""
        body = self._bodies[name]
        return self.data.xpos[body].copy(), self.data.xmat[body].reshape(3, 3).copy()

    def item_speed(self, name: str) -> float:
        """Return an item's linear speed [m/s]."""
        address = self._item_dof[name]
        return float(np.linalg.norm(self.data.qvel[address:address + 3]))

    def half_height(self, name: str) -> float:
        """Return how far the item reaches below its centre as it lies now [m]."""
        _, rotation = self.item_pose(name)
        item = self._items[name]
        if item.kind == 'cylinder':
            radius, half = item.size
            axis = abs(rotation[2, 2])
            return float(half * axis + radius * np.sqrt(max(0.0, 1 - axis * axis)))
        return float(np.abs(rotation[2]) @ np.array(item.half_sizes))

    def tilt(self, name: str) -> float:
        """Return how far the item leans [rad]."""
        _, rotation = self.item_pose(name)
        return float(np.arccos(np.clip(rotation[2, 2], -1.0, 1.0)))

    def pads_touching(self, arm: str, name: str) -> int:
        """Return how many of the arm's two pads touch the item."""
        body = self._bodies[name]
        return sum(body in self._touched.get(pad, ()) for pad in self._pads[arm])

    def rests_on(self, name: str, surface: str) -> bool:
        """Tell whether the item touches this surface."""
        return self._bodies[name] in self._touched.get(self._surfaces[surface], ())

    def supported(self, name: str) -> bool:
        """Tell whether the item touches any fixed surface."""
        return any(self.rests_on(name, surface) for surface in SURFACES)

    def stands(self, name: str) -> bool:
        """Tell whether a surface carries the item: touched, and the item's lowest point is there.

        An item pressed against a shelf's front touches it too, and falls when let go.
        """
        position, _ = self.item_pose(name)
        lowest = position[2] - self.half_height(name)
        return any(self.rests_on(name, surface) and abs(lowest - self._top(surface)) < NEAR
                   for surface in SURFACES)

    def _top(self, surface: str) -> float:
        geom = self.model.geom(surface)
        return float(geom.pos[2] + geom.size[2])

    # -- goals --------------------------------------------------------------------------------

    def gap(self, goal: Goal) -> float:
        """Return how high the item's lowest point is above the goal's surface [m]."""
        position, _ = self.item_pose(goal.item)
        return float(position[2] - self.half_height(goal.item) - SLOTS[goal.slot].position[2])

    def over_slot(self, goal: Goal) -> bool:
        """Tell whether the item is within its slot's tolerance in x and y, at any height."""
        slot = SLOTS[goal.slot]
        position, _ = self.item_pose(goal.item)
        return bool((np.abs(position[:2] - slot.position[:2]) < slot.tolerance).all())

    def in_slot(self, goal: Goal) -> bool:
        """Tell whether the item stands on its goal's surface within tolerance, held or not."""
        return (self.over_slot(goal) and abs(self.gap(goal)) < REST_GAP
                and self.rests_on(goal.item, SLOTS[goal.slot].surface))

    def placed(self, goal: Goal) -> bool:
        """Tell whether the item rests on its goal and nobody touches it."""
        return (self.in_slot(goal) and self.item_speed(goal.item) < REST_SPEED
                and not any(self.pads_touching(arm, goal.item) for arm in ARMS))

    def success(self) -> bool:
        """Tell whether every goal is reached: the task's sparse reward."""
        return all(self.placed(goal) for goal in self.task.goals)

    def focus(self) -> Goal:
        """Return the goal being worked on: the first one not reached, else the last."""
        return next((goal for goal in self.task.goals if not self.placed(goal)),
                    self.task.goals[-1])

# SPDX-License-Identifier: Apache-2.0
"""The cell with its task: where the items are, who touches them, which goals are reached."""
import numpy as np

from lwd_sim.cell import Cell
from lwd_sim.names import ARMS
from lwd_sim.props import DOOR_HINGE, Item
from lwd_sim.tasks import Goal, place_of

REST_SPEED = 0.03        # m/s, slower is at rest
REST_GAP = 0.008         # m between an item's lowest point and the surface it lies on
OVERTURN = 0.2           # rad beyond what counts as open to which a door is pulled
FRAME_GAP = 0.014        # m, the same in a crate that is being carried
# An item is between the jaws, held or not, while the tool is as near as this: along the jaw axis,
# across it, and behind along the approach, further where walls stand around [m].
BESIDE, ACROSS, BEHIND, BEHIND_WALLS = 0.035, 0.045, 0.055, 0.075
NEAR = 0.015            # m, an item that leans or slips is still carried by what is so near below


class World(Cell):
    """One simulated robot, its scene, and the success of its task."""

    def _index(self) -> None:
        super()._index()
        self._may_carry = {name: {body for other, body in self._bodies.items()
                                  if other != name and not self._carries(name, other)}
                           for name in self._items}
        self._trees = {name: int(self.model.body_treeid[body])
                       for name, body in self._bodies.items()}

    def _carries(self, name: str, other: str) -> bool:
        """Tell whether the other item has its place in this one: a crate does not stand on it."""
        return any(goal.item == other and place_of(goal).frame == name for goal in self.task.goals)

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
        """Return an item's linear speed [m/s]; a door's is that of its handle."""
        address = self._item_dof[name]
        if name in self._hinged:
            return float(abs(self.data.qvel[address]) * np.linalg.norm(DOOR_HINGE))
        return float(np.linalg.norm(self.data.qvel[address:address + 3]))

    def grip_point(self, name: str) -> np.ndarray:
        """Return where an upright item is gripped [3]: its centre, or its knob's."""
        position, rotation = self.item_pose(name)
        return position + rotation[:, 2] * self._items[name].knob_height

    def angle(self, name: str) -> float:
        """Return how far a door is open [rad]."""
        return float(self.data.qpos[self._item_qpos[name]])

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

    def asleep(self, name: str) -> bool:
        """Tell whether the item has lain still so long that it is not simulated: no contacts."""
        return bool(self.data.tree_asleep[self._trees[name]] >= 0)

    def touches_surface(self, name: str) -> bool:
        """Tell whether the item touches any fixed surface."""
        return any(self.rests_on(name, surface) for surface in self._surfaces)

    def supported(self, name: str) -> bool:
        """Tell whether the item touches a fixed surface, or another item that it does not carry."""
        if name in self._hinged or self.asleep(name) or self.touches_surface(name):
            return True
        touching = self._touching.get(self._bodies[name], set())
        return not self._may_carry[name].isdisjoint(touching)

    def stands(self, name: str) -> bool:
        """Tell whether a surface carries the item: touched, and the item's lowest point is there.

        An item pressed against a shelf's front touches it too, and falls when let go.
        """
        if self.asleep(name):
            return True
        position, _ = self.item_pose(name)
        lowest = position[2] - self.half_height(name)
        return any(self.rests_on(name, surface) and abs(lowest - self._top(surface)) < NEAR
                   for surface in self._surfaces)

    def _top(self, surface: str) -> float:
        geom = self.model.geom(surface)
        return float(geom.pos[2] + geom.size[2])

    # -- goals --------------------------------------------------------------------------------

    def target(self, goal: Goal) -> np.ndarray:
        """Return the goal's place on its surface [3], wherever what carries it is now."""
        slot = place_of(goal)
        position = np.array(slot.position)
        if not slot.frame:
            return position
        centre, rotation = self.item_pose(slot.frame)
        return centre + rotation @ position

    def gap(self, goal: Goal) -> float:
        """Return how high the item's lowest point is above the goal's surface [m]."""
        position, _ = self.item_pose(goal.item)
        return float(position[2] - self.half_height(goal.item) - self.target(goal)[2])

    def over_slot(self, goal: Goal) -> bool:
        """Tell whether the item is within its slot's tolerance in x and y, at any height."""
        slot = place_of(goal)
        position, _ = self.item_pose(goal.item)
        aside = position - self.target(goal)
        if slot.frame:
            aside = self.item_pose(slot.frame)[1].T @ aside
        return bool((np.abs(aside[:2]) < slot.tolerance).all())

    def in_slot(self, goal: Goal) -> bool:
        """Tell whether the item stands on its goal's surface within tolerance, held or not."""
        slot = place_of(goal)
        if goal.how == 'door':
            held = any(self.pads_touching(arm, goal.item) for arm in goal.arms)
            return self.angle(goal.item) >= goal.opened + (OVERTURN if held else 0.0)
        if slot.frame:      # by geometry alone: contacts flicker while a crate is carried
            return self.over_slot(goal) and abs(self.gap(goal)) < FRAME_GAP
        return (self.over_slot(goal) and abs(self.gap(goal)) < REST_GAP
                and (self.asleep(goal.item) or self.rests_on(goal.item, slot.surface)))

    def placed(self, goal: Goal) -> bool:
        """Tell whether the item rests on its goal and nobody touches it."""
        if goal not in self._placed:
            at_rest = bool(place_of(goal).frame) or self.item_speed(goal.item) < REST_SPEED
            self._placed[goal] = (at_rest and self.in_slot(goal)
                                  and not any(self.pads_touching(arm, goal.item) for arm in ARMS))
        return self._placed[goal]

    def reached(self, index: int) -> bool:
        """Tell whether goal `index` is placed, or no longer needed by the goals it serves."""
        return self.placed(self.task.goals[index]) or self._has_served(index)

    def _has_served(self, index: int) -> bool:
        goals = self.task.goals
        served = goals[index + 1:index + 1 + goals[index].serves]
        return bool(served) and all(self.placed(other) for other in served)

    def success(self) -> bool:
        """Tell whether every goal is reached: the task's sparse reward."""
        return all(self.reached(index) for index in range(len(self.task.goals)))

    def between_jaws(self, arm: str, goal: Goal) -> bool:
        """Tell whether the arm's jaws are around the goal's item, touching it or not."""
        tool, rotation = self.tcp(arm)
        behind = BEHIND_WALLS if place_of(goal).frame else BEHIND
        offset = np.abs(rotation.T @ (self.grip_point(goal.item) - tool))
        return bool((offset < (behind, BESIDE, ACROSS)).all())

    def focus(self) -> Goal:
        """Return the goal being worked on: the first one not reached or not left, else the last.

        A goal is left when no jaw is around its item any more: an arm that went elsewhere at once
        would sweep the item along. A crate that both arms hold in the air is set down first.
        """
        goals = self.task.goals
        if goals[-1].how == 'both' and self._in_the_air(goals[-1]):
            return goals[-1]
        for index, goal in enumerate(goals[:-1]):
            if self._has_served(index):
                continue
            if not self.placed(goal) or self._not_left(goal):
                return goal
        return goals[-1]

    def _in_the_air(self, goal: Goal) -> bool:
        return all(self.pads_touching(arm, goal.item) for arm in goal.arms) and not any(
            self.rests_on(goal.item, surface) for surface in self._surfaces)

    def _not_left(self, goal: Goal) -> bool:
        return goal.how in ('single', 'door') and self.between_jaws(goal.arms[0], goal)

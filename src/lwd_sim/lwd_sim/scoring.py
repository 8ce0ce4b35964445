# SPDX-License-Identifier: Apache-2.0
"""Sub-step scores of a long task, as the paper's raters give them: 1, 0.5 or 0 a sub-step.

1: done at the first try; 0.5: done with a flaw (the item leans) or after a retry (it was dropped on
the way, or the jaw closed on nothing); 0: not done. A sub-step that only serves others (the box is
opened) counts once it was reached; every other one must hold at the end.
"""
from lwd_sim.goals import Goal
from lwd_sim.grasping import holds
from lwd_sim.names import ARMS
from lwd_sim.world import World

LEANING = 0.3          # rad, an item that leans further is a flaw
LOST_FOR = 4           # control steps without a grip: dropped, not slipped and caught again
EMPTY_FOR = 6          # control steps a jaw stays closed on nothing
EMPTY_JAW = 0.13       # fraction open, below it nothing is between the pads


class StageScorer:
    """Watches one episode of a World; call `watch` once after every control step."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._goals = [goal for goal in world.task.goals if goal.stage]
        self.reset()

    def reset(self) -> None:
        """Start over, for a new episode."""
        self._reached = [False] * len(self._goals)
        self.retries = [0] * len(self._goals)
        self._held: int | None = None        # stage whose item is, or was last, in a grip
        self._loose = 0
        self._empty = dict.fromkeys(ARMS, 0)

    def watch(self) -> None:
        """See the state after a control step."""
        world = self._world
        for stage, goal in enumerate(self._goals):
            if not self._reached[stage] and world.placed(goal):
                self._reached[stage] = True
        focus = world.focus()
        self._watch_grip(focus)
        self._watch_jaws(focus)

    def _stage_of(self, goal: Goal) -> int | None:
        return next((stage for stage, own in enumerate(self._goals) if own is goal), None)

    def _watch_grip(self, focus: Goal) -> None:
        """Count an item that leaves the grip anywhere but at its place."""
        stage = self._stage_of(focus)
        if stage is not None and any(holds(self._world, focus, arm) for arm in focus.arms):
            self._held, self._loose = stage, 0
        elif self._held is not None:
            self._loose += 1
            if self._loose >= LOST_FOR:
                self.retries[self._held] += not self._world.in_slot(self._goals[self._held])
                self._held = None

    def _watch_jaws(self, focus: Goal) -> None:
        """Count a jaw that closes beside the item."""
        stage, world = self._stage_of(focus), self._world
        for arm in ARMS:
            shut = world.jaw(arm) < EMPTY_JAW and not world.pads_touching(arm, focus.item)
            self._empty[arm] = self._empty[arm] + 1 if shut else 0
            if stage is not None and self._empty[arm] == EMPTY_FOR and arm in focus.arms:
                self.retries[stage] += 1

    def scores(self) -> tuple[float, ...]:
        """Return 1.0, 0.5 or 0.0 for every sub-step as things stand now."""
        return tuple(self._score(stage) for stage in range(len(self._goals)))

    def _score(self, stage: int) -> float:
        goal = self._goals[stage]
        done = self._reached[stage] if goal.serves else self._world.placed(goal)
        # A box that was never opened was not closed either.
        before = [self._reached[other] for other in range(stage)
                  if self._goals[other].item == goal.item]
        done = done and all(before)
        if not done:
            return 0.0
        flaw = not goal.serves and self._world.tilt(goal.item) > LEANING
        return 0.5 if flaw or self.retries[stage] else 1.0

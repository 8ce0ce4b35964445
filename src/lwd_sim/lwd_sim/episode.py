# SPDX-License-Identifier: Apache-2.0
"""An episode made in process, as arrays with one row per control step."""
from dataclasses import dataclass, field

import numpy as np

from lwd_sim.features import state_vector
from lwd_sim.instructions import instruction_of
from lwd_sim.world import World

# The constants of lwd_msgs/ExecutedAction.
SOURCE_HOLD, SOURCE_POLICY, SOURCE_HUMAN = 0, 1, 2


@dataclass(frozen=True)
class Episode:
    """What was seen and executed: row t is the observation before action t."""

    task: str
    seed: int
    instruction: str
    joints: np.ndarray      # float32 [T, 14]
    state: np.ndarray       # float32 [T, S]
    actions: np.ndarray     # float32 [T, 14], executed
    source: np.ndarray      # uint8 [T], SOURCE_*
    success: bool
    takeovers: int = 0
    scores: tuple[float, ...] = ()      # of the sub-steps of a long task: 1, 0.5 or 0

    @property
    def steps(self) -> int:
        """Return T."""
        return len(self.actions)


@dataclass
class Recorder:
    """Collects the rows of one episode."""

    world: World
    rows: list = field(default_factory=list)

    def step(self, action: np.ndarray, source: int) -> bool:
        """Record the observation and the action, step the world, return success."""
        executed = np.asarray(action, np.float32)
        self.rows.append((self.world.joints(), state_vector(self.world), executed, source))
        return self.world.step(executed)

    def finish(self, success: bool, takeovers: int = 0, instruction: str | None = None,
               scores: tuple[float, ...] = ()) -> Episode:
        """Return the episode; without `instruction` it has the task's own."""
        joints, state, actions, source = zip(*self.rows)
        task = self.world.task.name
        return Episode(
            task, self.world.seed, instruction or instruction_of(task),
            np.array(joints, np.float32), np.array(state), np.array(actions),
            np.array(source, np.uint8), success, takeovers, scores)

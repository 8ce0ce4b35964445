# SPDX-License-Identifier: Apache-2.0
"""Where the robot stands: the measured position, and when it was moved by something else."""

from __future__ import annotations

import numpy as np

from lwd_core.clock import NS_PER_S
from lwd_core.robot import RobotSpec
from lwd_intervention.arbiter.records import Vector

STANDING_DRIFT = 0.02  # rad between two samples; below it the arm stands
RESET_DRIFT = 0.1  # rad; beyond it while the scene is reset, somebody moved the arm
JUMP_FACTOR = 2.0  # times the velocity limit in one period
JUMP_MARGIN = 0.05  # rad; encoder noise and late samples


class Anchor:
    """Remember the measured joints and notice a robot that was put elsewhere.

    A simulator's reset, or a person moving the arms, leaves the last sent position meaningless;
    holding it would drive the arm back there.
    """

    def __init__(self, robot: RobotSpec) -> None:
        """Take the joints' velocity limits."""
        velocity = np.array([joint.velocity for joint in robot.joints])
        self._jump = JUMP_FACTOR * velocity * robot.period_ns / NS_PER_S + JUMP_MARGIN
        self.measured: Vector | None = None
        self._doubted = False  # the clock jumped: it may be another run of a simulation

    def doubt(self) -> None:
        """Look at the next standing sample as after a reset of the scene."""
        self._doubted = True

    def measure(
        self, positions: Vector, sent: Vector | None, resetting: bool, at_rest: bool,
    ) -> bool:
        """Take positions [d]; tell whether the sent position [d] no longer means anything.

        `at_rest`: the command stands still, so that a servo's lag explains no distance.
        """
        before, self.measured = self.measured, positions
        if before is None or sent is None:
            return False
        if (np.abs(positions - before) > self._jump).any():
            self._doubted = True  # noticed again once somebody may act on it
            return True
        if not at_rest or (np.abs(positions - before) > STANDING_DRIFT).any():
            return False
        doubted, self._doubted = resetting or self._doubted, False
        return doubted and bool((np.abs(positions - sent) > RESET_DRIFT).any())

    def trust(self) -> None:
        """The measured position is where commands start from now."""
        self._doubted = False

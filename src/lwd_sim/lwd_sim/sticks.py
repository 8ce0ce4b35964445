# SPDX-License-Identifier: Apache-2.0
"""The scripted operator at a joystick: what he wants of the arms as deflections of sticks. Pure.

He knows where he wants the tool a tick from now (the expert's joint targets, by forward kinematics)
and deflects the sticks by what the tool is short of it; deadman and buttons are pressed and let go
as a person would. Layout, speeds and frame are those of config/teleop/scripted.yaml.
"""
from dataclasses import dataclass

import numpy as np

from lwd_sim.geometry import rotation_error
from lwd_sim.names import arm_slice, ARMS, CONTROL_RATE, jaw_index
from lwd_sim.operating import Intent
from lwd_sim.world import World

LINEAR, ANGULAR, JAW = 1.0, 4.0, 6.0      # m/s, rad/s and 1/s at full deflection
BUTTONS = ('left_deadman', 'right_deadman', 'handback', 'estop', 'success', 'failure', 'discard')
# Base frame of both arms: x away from the robot, y left, z up; columns in the world.
BASE = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
PRESSED = 3                # ticks a button stays down, and up again before it is tried anew
PATIENCE = 8               # ticks a held deadman may go unanswered before it is gripped anew


def deflections(world: World, action: np.ndarray) -> np.ndarray:
    """Return the axes [14] that bring the commanded arms to the action [14] within a tick."""
    axes = np.zeros(14)
    for index, arm in enumerate(ARMS):
        wanted = np.clip(action[arm_slice(arm)], *world.joint_limits.T)
        data = world.scratch()
        position, rotation, _ = world.tool_at(data, arm, world.arm_command(arm))
        goal, goal_rotation, _ = world.tool_at(data, arm, wanted)
        twist = np.concatenate([BASE.T @ (goal - position) / LINEAR,
                                BASE.T @ rotation_error(rotation, goal_rotation) / ANGULAR])
        jaw = (action[jaw_index(arm)] - world.jaw_command(arm)) / JAW
        axes[7 * index:7 * index + 7] = np.append(twist, jaw) * CONTROL_RATE
    return np.clip(axes, -1.0, 1.0)


@dataclass
class Hands:
    """The operator's hands: which buttons are down at each tick."""

    deadman: bool = False
    _since: int = 0            # ticks the deadman is in its present state
    _button: str = ''
    _down: int = 0             # ticks since the button was pressed

    def drive(self, in_force: bool) -> None:
        """Hold the deadman; grip anew where it is not answered (`in_force`: he drives)."""
        self._since = 0 if in_force else self._since + 1
        if not self.deadman:
            self.deadman, self._since = True, 0
        elif self._since > PATIENCE:
            self.let_go()

    def let_go(self) -> None:
        """Let go of the deadman."""
        self.deadman, self._since = False, 0

    def press(self, button: str) -> None:
        """Press a button, let it go after a moment, and press it again while it is wanted."""
        if button != self._button:
            self._button, self._down = button, 0
        self._down = (self._down + 1) % (2 * PRESSED)

    def release(self) -> None:
        """Press no button any more."""
        self._button, self._down = '', 0

    def buttons(self) -> list[int]:
        """Return the state of BUTTONS."""
        down = {self._button} if 0 < self._down <= PRESSED else set()
        if self.deadman:
            down |= {'left_deadman', 'right_deadman'}
        return [int(name in down) for name in BUTTONS]


class StickOperator:
    """Turns the operator's intents into messages of his joystick, one a tick."""

    def __init__(self) -> None:
        self._hands = Hands()
        self._handing_back = False

    def begin(self) -> None:
        """Start an episode with empty hands."""
        self._hands, self._handing_back = Hands(), False

    def rest(self) -> tuple[np.ndarray, list[int]]:
        """Return axes and buttons of a device nobody holds."""
        self._hands.let_go()
        self._hands.release()
        return np.zeros(14), self._hands.buttons()

    def act(self, world: World, intent: Intent, driving: bool, in_force: bool, policy: bool
            ) -> tuple[np.ndarray, list[int]]:
        """Return axes [14] and buttons.

        driving: he means to; in_force: teleoperation says he does; policy: the policy drives.
        """
        hands, axes = self._hands, np.zeros(14)
        self._handing_back |= bool(intent.hand_back)
        if driving or policy:
            self._handing_back = False
        if self._handing_back:
            hands.press('handback')        # the deadman stays held until it is granted
        elif driving:
            hands.drive(in_force)
            if intent.action is not None:
                axes = deflections(world, intent.action)
        else:
            hands.let_go()
        if intent.finished or intent.hopeless:
            hands.press('success' if intent.finished else 'failure')
        elif not self._handing_back:
            hands.release()
        return axes, hands.buttons()

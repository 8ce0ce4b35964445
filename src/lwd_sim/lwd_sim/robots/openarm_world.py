# SPDX-License-Identifier: Apache-2.0
"""OpenArm reaching for two marks: physics, what success is, and what there is to see. Pure."""
from dataclasses import dataclass

import mujoco
import numpy as np

from lwd_core.robot import RobotSpec
from lwd_sim.robots.openarm_scene import ARM_DOF, ARMS, compile_model, model_path, SITE, TARGET

SUBSTEPS = 10            # physics steps per control step
JAW_OPEN = 0.7854        # rad of a finger at fraction open = 1
HOME_ARM = np.array([0.0, 0.0, 0.0, 1.5708, 0.0, 0.0, 0.0])
SPREAD = 0.45            # rad around home from which the postures are drawn that place the marks
NEAR = 0.03              # m from the mark that counts as there
HELD_STEPS = 5           # control steps both must be there
STATE_NAMES = tuple(f'{arm}/{what}/{axis}' for arm in ARMS
                    for what in ('tcp', 'target', 'to_target') for axis in 'xyz')


@dataclass(frozen=True)
class ReachTask:
    """What the simulated OpenArm can be asked."""

    name: str = 'reach'


TASKS = {'reach': ReachTask()}


class OpenArmWorld:
    """One OpenArm at its table. Actions [16]: per arm seven joints [rad] and the jaw [0, 1]."""

    def __init__(self, robot: RobotSpec) -> None:
        self.model = compile_model(model_path(robot))
        self.data = mujoco.MjData(self.model)
        self._scratch = mujoco.MjData(self.model)
        self.task, self.seed, self.steps, self._held = TASKS['reach'], 0, 0, 0
        self._qpos, self._dofs, self._ctrl = self._addresses()
        self._sites = {arm: self.model.site(SITE.format(arm)).id for arm in ARMS}
        self._marks = {arm: int(self.model.body(TARGET.format(arm)).mocapid[0]) for arm in ARMS}
        self.limits = np.array([self.model.joint(name).range for name in self._arm_joints()])
        self.reset(0)

    def _arm_joints(self) -> list[str]:
        return [f'openarm_{arm}_joint{i + 1}' for arm in ARMS for i in range(ARM_DOF)]

    def _addresses(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where each action dimension lies in qpos, qvel and ctrl."""
        joints, actuators = [], []
        for arm in ARMS:
            joints += [f'openarm_{arm}_joint{i + 1}' for i in range(ARM_DOF)]
            joints.append(f'openarm_{arm}_finger_joint1')
            actuators += [f'{arm}_joint{i + 1}_ctrl' for i in range(ARM_DOF)]
            actuators.append(f'{arm}_finger1_ctrl')
        model = self.model
        return (np.array([model.joint(name).qposadr[0] for name in joints]),
                np.array([model.joint(name).dofadr[0] for name in joints]),
                np.array([model.actuator(name).id for name in actuators]))

    # -- scene -------------------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        """Put the arms near home and the marks where they can be reached."""
        rng = np.random.default_rng([max(0, seed), 7])
        self.seed, self.steps, self._held = seed, 0, 0
        mujoco.mj_resetData(self.model, self.data)
        for arm in ARMS:
            posture = HOME_ARM + rng.uniform(-SPREAD, SPREAD, ARM_DOF)
            self._place(arm, self._forward(arm, posture))
        home = np.concatenate([np.append(HOME_ARM + rng.uniform(-0.05, 0.05, ARM_DOF), 1.0)
                               for _ in ARMS])
        self._set_joints(self.data, home)
        self.data.ctrl[self._ctrl] = self._to_model(home)
        mujoco.mj_forward(self.model, self.data)

    def _forward(self, arm: str, posture: np.ndarray) -> np.ndarray:
        """Return where the hand is at a posture [7], clipped to the limits."""
        begin = ARMS.index(arm) * ARM_DOF
        posture = np.clip(posture, *self.limits[begin:begin + ARM_DOF].T)
        joints = self.joints_of(self._scratch)
        joints[self._slice(arm)] = posture
        self._set_joints(self._scratch, joints)
        mujoco.mj_kinematics(self.model, self._scratch)
        return self._scratch.site_xpos[self._sites[arm]].copy()

    def _place(self, arm: str, position: np.ndarray) -> None:
        self.data.mocap_pos[self._marks[arm]] = position

    @staticmethod
    def _slice(arm: str) -> slice:
        begin = ARMS.index(arm) * (ARM_DOF + 1)
        return slice(begin, begin + ARM_DOF)

    # -- driving -----------------------------------------------------------------------------

    def step(self, targets: np.ndarray) -> bool:
        """Run one control step towards joint targets [16]; return success."""
        low, high = self.model.actuator_ctrlrange[self._ctrl].T
        self.data.ctrl[self._ctrl] = np.clip(self._to_model(targets), low, high)
        mujoco.mj_step(self.model, self.data, SUBSTEPS)
        mujoco.mj_forward(self.model, self.data)
        self.steps += 1
        near = all(np.linalg.norm(self.gap(arm)) < NEAR for arm in ARMS)
        self._held = self._held + 1 if near else 0
        return self.success()

    def success(self) -> bool:
        """Tell whether both hands have been at their marks long enough."""
        return self._held >= HELD_STEPS

    def _set_joints(self, data: mujoco.MjData, joints: np.ndarray) -> None:
        data.qpos[self._qpos] = self._to_model(joints)
        for arm in ARMS:  # the second finger follows the first
            first = self.model.joint(f'openarm_{arm}_finger_joint1').qposadr[0]
            data.qpos[self.model.joint(f'openarm_{arm}_finger_joint2').qposadr[0]] = \
                data.qpos[first]

    @staticmethod
    def _to_model(joints: np.ndarray) -> np.ndarray:
        """Turn fractions open into finger angles; the right fingers turn the other way."""
        model = np.array(joints, dtype=float)
        model[ARM_DOF] *= JAW_OPEN
        model[-1] *= -JAW_OPEN
        return model

    # -- seeing ------------------------------------------------------------------------------

    def joints_of(self, data: mujoco.MjData) -> np.ndarray:
        """Return joint positions [16]."""
        joints = data.qpos[self._qpos].copy()
        joints[ARM_DOF] /= JAW_OPEN
        joints[-1] /= -JAW_OPEN
        return joints

    def joints(self) -> np.ndarray:
        """Return joint positions [16]: rad, jaws as fraction open."""
        return self.joints_of(self.data)

    def joint_velocities(self) -> np.ndarray:
        """Return joint velocities [16]: rad/s, jaws as fraction per s."""
        velocities = self.data.qvel[self._dofs].copy()
        velocities[ARM_DOF] /= JAW_OPEN
        velocities[-1] /= -JAW_OPEN
        return velocities

    def joint_efforts(self) -> np.ndarray:
        """Return actuator torques [16], Nm."""
        return self.data.actuator_force[self._ctrl].copy()

    def tcp(self, arm: str) -> np.ndarray:
        """Return the hand's position [3], m."""
        return self.data.site_xpos[self._sites[arm]].copy()

    def gap(self, arm: str) -> np.ndarray:
        """Return the way from the hand to its mark [3], m."""
        return self.data.mocap_pos[self._marks[arm]] - self.tcp(arm)

    def jacobian(self, arm: str) -> np.ndarray:
        """Return d position / d joints [3, 7] of the hand."""
        jacobian = np.zeros((3, self.model.nv))
        mujoco.mj_jacSite(self.model, self.data, jacobian, None, self._sites[arm])
        return jacobian[:, self._dofs[self._slice(arm)]]

    def observe(self) -> np.ndarray:
        """Return the privileged state [18] named by STATE_NAMES, m."""
        return np.concatenate([np.concatenate([
            self.tcp(arm), self.tcp(arm) + self.gap(arm), self.gap(arm)]) for arm in ARMS])

    def state(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return copies of qpos, qvel and ctrl: with the seed, everything there is."""
        return self.data.qpos.copy(), self.data.qvel.copy(), self.data.ctrl.copy()

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray, ctrl: np.ndarray) -> None:
        """Take over what `state` returned."""
        self.data.qpos[:], self.data.qvel[:], self.data.ctrl[:] = qpos, qvel, ctrl
        mujoco.mj_forward(self.model, self.data)

# SPDX-License-Identifier: Apache-2.0
"""The simulated cell: one robot and the items of one task. Steps physics, measures the robot.

Derived quantities (poses, contacts) are always those of the current positions: every step ends
with mj_forward, so that a World rebuilt from (qpos, qvel, ctrl) tells the same.
"""
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np

from lwd_sim.names import (
    ARM_JOINTS,
    arm_slice,
    ARMS,
    HOME_ARM,
    JAW_FORCE,
    jaw_index,
    JAW_SLEW,
    JAW_TRAVEL,
    SUBSTEPS,
    TCP_OFFSET,
)
from lwd_sim.scene import build_scene, SURFACES
from lwd_sim.tasks import get_task, Task

START_NOISE = 0.02       # rad, spread of the arm joints at the start
START_GAP = 0.002        # m above the table at the start
START_JAW = 0.05         # m finger opening at the start


@lru_cache(maxsize=32)
def _model(task: Task) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(build_scene(
        task.items, fixtures=task.fixtures, sleep=task.sleep))


class Cell:
    """One simulated robot and the scene of one task; what succeeds is World's to say."""

    def __init__(self, task: str | Task) -> None:
        self.task = task if isinstance(task, Task) else get_task(task)
        self.model = _model(self.task)
        self.data = mujoco.MjData(self.model)
        self._scratch: mujoco.MjData | None = None
        self.steps = 0
        self.seed = -1
        self._index()
        self.reset(0)

    def _index(self) -> None:
        """Look up addresses of joints, actuators, bodies and geoms once."""
        m = self.model
        self._arm_qpos, self._arm_dof, self._arm_ctrl = {}, {}, {}
        self._finger_qpos, self._finger_ctrl, self._pads, self._gripper = {}, {}, {}, {}
        for arm in ARMS:
            joints = [m.joint(f'{arm}/{name}').id for name in ARM_JOINTS]
            fingers = [f'{arm}/left_finger', f'{arm}/right_finger']
            self._arm_qpos[arm] = m.jnt_qposadr[joints]
            self._arm_dof[arm] = m.jnt_dofadr[joints]
            self._arm_ctrl[arm] = [m.actuator(f'{arm}/{name}').id for name in ARM_JOINTS]
            self._finger_qpos[arm] = [m.joint(name).qposadr[0] for name in fingers]
            self._finger_ctrl[arm] = [m.actuator(name).id for name in fingers]
            self._pads[arm] = tuple(m.geom(f'{name}_pad').id for name in fingers)
            self._gripper[arm] = m.body(f'{arm}/gripper').id
        self.joint_limits = m.jnt_range[[m.joint(f'left/{name}').id for name in ARM_JOINTS]]
        self._geom_body = m.geom_bodyid.tolist()
        self._surfaces = {name: geom for name in SURFACES if (geom := mujoco.mj_name2id(
            m, mujoco.mjtObj.mjOBJ_GEOM, name)) >= 0}
        self._items = {item.name: item for item in self.task.items}
        self._bodies = {name: m.body(name).id for name in self._items}
        self._item_qpos = {name: m.jnt_qposadr[m.body(name).jntadr[0]] for name in self._items}
        self._item_dof = {name: m.jnt_dofadr[m.body(name).jntadr[0]] for name in self._items}
        self._hinged = {name for name, item in self._items.items() if item.kind == 'door'}

    # -- time ---------------------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        """Place robot and items for this seed; equal seeds give bitwise equal starts."""
        rng = np.random.default_rng(seed)
        mujoco.mj_resetData(self.model, self.data)
        for arm in ARMS:
            start = HOME_ARM + START_NOISE * rng.standard_normal(len(HOME_ARM))
            self.data.qpos[self._arm_qpos[arm]] = start
            self.data.ctrl[self._arm_ctrl[arm]] = start
            self.data.qpos[self._finger_qpos[arm]] = START_JAW, -START_JAW
            self.data.ctrl[self._finger_ctrl[arm]] = JAW_TRAVEL, -JAW_TRAVEL
        for name, (x, y, yaw) in self.task.sample(rng).items():
            if name in self._hinged:
                self.data.qpos[self._item_qpos[name]] = yaw
                continue
            height = self._items[name].half_sizes[2] + START_GAP + self.task.level(name)
            self._put(name, (x, y, height), (np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)))
        self.seed, self.steps = seed, 0
        self._refresh()

    def _put(self, item: str, position: tuple, quaternion: tuple) -> None:
        address = self._item_qpos[item]
        self.data.qpos[address:address + 7] = (*position, *quaternion)

    def step(self, action: np.ndarray) -> None:
        """Apply an action [14] (rad; jaws: fraction open) for one control step."""
        action = np.asarray(action, dtype=float)
        if action.shape != (14,) or not np.isfinite(action).all():
            raise ValueError(f'action must be 14 finite numbers, got shape {action.shape}: '
                             f'{action}')
        for arm in ARMS:
            targets = action[arm_slice(arm)]
            self.data.ctrl[self._arm_ctrl[arm]] = np.clip(targets, *self.joint_limits.T)
            before = self.jaw_command(arm)
            change = np.clip(action[jaw_index(arm)], 0.0, 1.0) - before
            jaw = JAW_TRAVEL * (before + np.clip(change, -JAW_SLEW, JAW_SLEW))
            self.data.ctrl[self._finger_ctrl[arm]] = jaw, -jaw
        mujoco.mj_step(self.model, self.data, nstep=SUBSTEPS)
        self.steps += 1
        self._refresh()

    def state(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return copies of (qpos, qvel, ctrl)."""
        return self.data.qpos.copy(), self.data.qvel.copy(), self.data.ctrl.copy()

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray, ctrl: np.ndarray) -> None:
        """Take over a state of the same task, e.g. from sim/state."""
        if self.task.sleep:
            mujoco.mj_resetData(self.model, self.data)      # wakes what sleeps elsewhere
        for name, value, own in (('qpos', qpos, self.data.qpos), ('qvel', qvel, self.data.qvel),
                                 ('ctrl', ctrl, self.data.ctrl)):
            if len(value) != len(own):
                raise ValueError(f'{name} has {len(value)} numbers, task {self.task.name!r} '
                                 f'has {len(own)}')
            own[:] = value
        self._refresh()

    def _refresh(self) -> None:
        mujoco.mj_forward(self.model, self.data)
        self._touched: dict[int, set[int]] = {}      # bodies by the geom they touch
        self._touching: dict[int, set[int]] = {}     # bodies by the body they touch
        for first, second in set(map(tuple, self.data.contact.geom.tolist())):
            bodies = self._geom_body[first], self._geom_body[second]
            self._touched.setdefault(first, set()).add(bodies[1])
            self._touched.setdefault(second, set()).add(bodies[0])
            self._touching.setdefault(bodies[0], set()).add(bodies[1])
            self._touching.setdefault(bodies[1], set()).add(bodies[0])
        self._placed: dict[Any, bool] = {}           # what was asked about this state

    # -- robot --------------------------------------------------------------------------------

    def arm_positions(self, arm: str) -> np.ndarray:
        """Return the six measured joint positions [rad]."""
        return self.data.qpos[self._arm_qpos[arm]].copy()

    def arm_command(self, arm: str) -> np.ndarray:
        """Return the six joint targets [rad] the servos follow now."""
        return self.data.ctrl[self._arm_ctrl[arm]].copy()

    def jaw(self, arm: str) -> float:
        """Return the measured jaw opening as a fraction."""
        left, right = self.data.qpos[self._finger_qpos[arm]]
        return float((left - right) / (2 * JAW_TRAVEL))

    def jaw_command(self, arm: str) -> float:
        """Return the jaw opening the driver is asking for now, as a fraction."""
        return float(self.data.ctrl[self._finger_ctrl[arm][0]] / JAW_TRAVEL)

    def jaw_effort(self, arm: str) -> float:
        """Return the closing force of the jaw as a fraction of its cap; opening is negative."""
        left, right = self.data.actuator_force[self._finger_ctrl[arm]]
        return float((right - left) / (2 * JAW_FORCE))

    def joints(self) -> np.ndarray:
        """Return the measured joint vector [14] in action order."""
        return np.concatenate([[*self.arm_positions(arm), self.jaw(arm)] for arm in ARMS])

    def joint_velocities(self) -> np.ndarray:
        """Return the measured joint velocities [14] (rad/s; jaws: fraction/s)."""
        out = []
        for arm in ARMS:
            fingers = [self.model.joint(f'{arm}/{side}_finger').dofadr[0]
                       for side in ('left', 'right')]
            left, right = self.data.qvel[fingers]
            out += [*self.data.qvel[self._arm_dof[arm]], (left - right) / (2 * JAW_TRAVEL)]
        return np.array(out)

    def joint_efforts(self) -> np.ndarray:
        """Return the servo torques [14] (Nm; jaws: fraction of the cap, closing positive)."""
        return np.concatenate([[*self.data.actuator_force[self._arm_ctrl[arm]],
                                self.jaw_effort(arm)] for arm in ARMS])

    def tcp(self, arm: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the tool centre [3] between the pads and the gripper's rotation [3, 3]."""
        return self._tool(self.data, arm)

    def _tool(self, data: mujoco.MjData, arm: str) -> tuple[np.ndarray, np.ndarray]:
        body = self._gripper[arm]
        rotation = data.xmat[body].reshape(3, 3)
        return data.xpos[body] + TCP_OFFSET * rotation[:, 0], rotation.copy()

    def jacobian(self, arm: str) -> np.ndarray:
        """Return the tool's Jacobian [6, 6] (translation above rotation) over the arm's joints."""
        return self._jacobian(self.data, arm)

    def _jacobian(self, data: mujoco.MjData, arm: str) -> np.ndarray:
        linear, angular = np.zeros((3, self.model.nv)), np.zeros((3, self.model.nv))
        mujoco.mj_jac(self.model, data, linear, angular, self._tool(data, arm)[0],
                      self._gripper[arm])
        dofs = self._arm_dof[arm]
        return np.vstack([linear[:, dofs], angular[:, dofs]])

    def scratch(self) -> mujoco.MjData:
        """Return data for trying out arm postures; the world itself stays as it is."""
        if self._scratch is None:
            self._scratch = mujoco.MjData(self.model)
        return self._scratch

    def tool_at(self, data: mujoco.MjData, arm: str, joints: np.ndarray
                ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return tool position [3], rotation [3, 3] and Jacobian [6, 6] if the arm were there."""
        data.qpos[self._arm_qpos[arm]] = joints
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_comPos(self.model, data)
        return (*self._tool(data, arm), self._jacobian(data, arm))

# SPDX-License-Identifier: Apache-2.0
"""The robot's kinematics by MuJoCo: how far a posture is outside of the robot file's workspace."""

from __future__ import annotations

import itertools
from pathlib import Path

import mujoco
import numpy as np

from lwd_core.robot import RobotSpec
from lwd_core.spec import SpecError
from lwd_core.workspace import WorkspaceSpec
from lwd_intervention.arbiter.records import Vector

NEAR = 0.2  # m beyond min_distance at which two geoms are not looked at more closely


class MujocoWorkspace:
    """A lwd_core.guard_shield.Workspace; joints that the model lacks (jaws) stand still in it."""

    def __init__(self, robot: RobotSpec, spec: WorkspaceSpec, mjcf: Path) -> None:
        """Load the model; SpecError naming the file and what it lacks."""
        self._spec, self._where = spec, str(mjcf)
        try:
            self._model = mujoco.MjModel.from_xml_path(str(mjcf))
        except ValueError as error:
            raise SpecError(f'{mjcf}: is no model: {error}') from error
        self._data = mujoco.MjData(self._model)
        pairs = [(index, self._joint(name)) for index, name in enumerate(robot.joint_names)]
        self._columns = np.array([index for index, address in pairs if address >= 0], int)
        self._addresses = np.array([address for _, address in pairs if address >= 0], int)
        if not len(self._columns):
            raise SpecError(f'{mjcf}: has none of the joints of robot {robot.name!r}')
        self._frames = [self._frame(box.frame) for box in spec.boxes]
        self._lower = np.array([box.lower for box in spec.boxes]).reshape(-1, 3)
        self._upper = np.array([box.upper for box in spec.boxes]).reshape(-1, 3)
        self._pairs = list(itertools.product(*(self._geoms(name) for name in spec.bodies)))
        if spec.bodies and not self._pairs:
            raise SpecError(f'{mjcf}: {" or ".join(spec.bodies)} has no geoms to keep apart')

    @classmethod
    def for_robot(cls, robot: RobotSpec, robot_file: str | Path) -> MujocoWorkspace | None:
        """Return the workspace of a robot file, None if it gives none; mjcf is relative to it."""
        if robot.workspace is None:
            return None
        return cls(robot, robot.workspace, Path(robot_file).resolve().parent / str(robot.mjcf))

    def violation(self, position: Vector) -> float:
        """Return by how much [m] a posture [d] is outside; 0 or less inside."""
        self._move(position)
        return max(self._box_violation()[0], self._near_violation()[0])

    def describe(self, position: Vector) -> str:
        """Return what is violated worst, with value and bound."""
        self._move(position)
        box, near = self._box_violation(), self._near_violation()
        return box[1] if box[0] >= near[0] else near[1]

    def _move(self, position: Vector) -> None:
        self._data.qpos[self._addresses] = position[self._columns]
        mujoco.mj_kinematics(self._model, self._data)

    def _box_violation(self) -> tuple[float, str]:
        if not self._frames:
            return -np.inf, ''
        at = np.array([positions()[index] for positions, index in self._frames])
        outside = np.maximum(self._lower - at, at - self._upper)  # [boxes, 3]
        box, axis = np.unravel_index(int(outside.argmax()), outside.shape)
        return float(outside[box, axis]), (
            f'{self._spec.boxes[box].frame} would be at {"xyz"[axis]} = {at[box, axis]:.3f} m, '
            f'bounds {self._lower[box, axis]:.3f} to {self._upper[box, axis]:.3f} m')

    def _near_violation(self) -> tuple[float, str]:
        if self._spec.min_distance is None:
            return -np.inf, ''
        distance, pair = self._nearest(self._spec.min_distance)
        return self._spec.min_distance - distance, (
            f'{self._name(pair[0])} would be {distance:.3f} m from {self._name(pair[1])}, at least '
            f'{self._spec.min_distance:.3f} m')

    def _nearest(self, minimum: float) -> tuple[float, tuple[int, int]]:
        """Return the least distance [m], exact below `minimum` + NEAR, and its geoms."""
        model, data = self._model, self._data
        best, found = minimum + NEAR, self._pairs[0]
        first, second = np.array(self._pairs).T
        apart = np.linalg.norm(data.geom_xpos[first] - data.geom_xpos[second], axis=1)
        bound = apart - model.geom_rbound[first] - model.geom_rbound[second]
        for index in np.argsort(bound):
            if bound[index] >= best:
                break
            one, other = self._pairs[index]
            distance = mujoco.mj_geomDistance(model, data, one, other, best, None)
            if distance < best:
                best, found = distance, (one, other)
        return best, found

    def _joint(self, name: str) -> int:
        index = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_JOINT, name)
        return -1 if index < 0 else int(self._model.jnt_qposadr[index])

    def _frame(self, name: str) -> tuple[object, int]:
        for kind, positions in ((mujoco.mjtObj.mjOBJ_SITE, lambda: self._data.site_xpos),
                                (mujoco.mjtObj.mjOBJ_BODY, lambda: self._data.xpos)):
            index = mujoco.mj_name2id(self._model, kind, name)
            if index >= 0:
                return positions, index
        raise SpecError(f'{self._where}: has no site or body {name!r}, which workspace names')

    def _geoms(self, body: str) -> list[int]:
        root = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_BODY, body)
        if root < 0:
            raise SpecError(f'{self._where}: has no body {body!r}, which workspace names')
        return [geom for geom in range(self._model.ngeom)
                if self._below(int(self._model.geom_bodyid[geom]), root)]

    def _below(self, body: int, root: int) -> bool:
        while body not in (0, root):
            body = int(self._model.body_parentid[body])
        return body == root

    def _name(self, geom: int) -> str:
        body = int(self._model.geom_bodyid[geom])
        names = (mujoco.mj_id2name(self._model, mujoco.mjtObj.mjOBJ_GEOM, geom),
                 mujoco.mj_id2name(self._model, mujoco.mjtObj.mjOBJ_BODY, body))
        return next((name for name in names if name), f'geom {geom}')

# SPDX-License-Identifier: Apache-2.0
"""Twist to joint step of one arm: differential IK (mink) on the robot's model.

The tool's position comes first, its direction is kept as well as the posture allows: the error is
remembered and made good where the wrist can. What cannot be followed is slowed down in its own
direction rather than bent into another one: near singular postures and joint limits the
least-squares step veers off what was asked, and it shrinks with that angle until the arm stands.
How much is left is `IKStep.scale`. A turn that cannot be made does not stop the tool's way: what is
missing of a twist is tried again without its turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import mink
import mujoco
import numpy as np

from lwd_core.robot import RobotSpec
from lwd_core.spec import SpecError
from lwd_intervention.arbiter.records import Vector
from lwd_intervention.teleop.arms import Arm

TURN = 0.1              # m/rad: cost of a wrong direction beside that of a wrong position
DAMPING = 1e-4          # of the least squares [m^2]
POSTURE, POSTURE_GAIN = 2e-3, 0.05  # pull to the preferred posture; only felt near singularities
MAKE_GOOD = 1.5         # rad/s
DRIFT = 0.5             # rad of direction that is remembered and made good
OFF = 0.01              # m of position likewise
VEER_FREE, VEER_STOP = 0.15, 0.7    # sine of the angle off what was asked
EFFORT_FREE, EFFORT_STOP = 9.0, 18.0   # rad of the joints for a metre of the tool, while growing
TURN_LENGTH = 0.35      # m: how much a turn by 1 rad counts as a way in that effort
SINGULAR = 0.015        # m/rad, smallest singular value of a posture that counts as singular
AT_LIMIT = 0.01         # rad
SLOWED = 0.95           # share of what was asked below which a step counts as slowed down


@dataclass(frozen=True)
class IKStep:
    """The arm's next joints [n], the share of the asked twist they give, and why not all."""

    joints: Vector
    scale: float
    reason: str = ''


class ArmIK:
    """One arm of a model. Joint vectors [n] are in the order of `arm.joints`."""

    def __init__(self, model: mujoco.MjModel, arm: Arm, robot: RobotSpec, posture: Vector,
                 speed_share: float = 0.8) -> None:
        """Take the joints' limits from the robot file and the model, whichever are tighter.

        posture: joints [n] the arm prefers; speed_share: of the joints' speed limits.
        """
        self.arm = arm
        self._configuration = mink.Configuration(model)
        ids = [_joint(model, name, arm) for name in arm.joints]
        self._qpos, self._dof = model.jnt_qposadr[ids], model.jnt_dofadr[ids]
        self._tool, self._tool_type = _frame(model, arm.tool, arm, 'tool')
        self._base, self._base_type = _frame(model, arm.base, arm, 'base')
        specs = {joint.name: joint for joint in robot.joints}
        limits = np.array([[specs[name].lower, specs[name].upper] for name in arm.joints])
        ranges = np.where(model.jnt_limited[ids][:, None], model.jnt_range[ids], limits)
        self.lower = np.maximum(limits[:, 0], ranges[:, 0])
        self.upper = np.minimum(limits[:, 1], ranges[:, 1])
        self.speed = speed_share * np.array([specs[name].velocity for name in arm.joints])
        self._task = mink.FrameTask(self._tool, self._tool_type, position_cost=1.0,
                                    orientation_cost=TURN)
        self._posture = mink.PostureTask(model, cost=POSTURE, gain=POSTURE_GAIN)
        self._limit = mink.ConfigurationLimit(model)
        self._q = model.qpos0.copy()
        target = self._q.copy()
        target[self._qpos] = np.clip(posture, self.lower, self.upper)
        self._posture.set_target(target)

    def pose(self, joints: Vector) -> tuple[Vector, Vector]:
        """Return the tool's position [3] (m) and rotation [3, 3] in the model's world."""
        self._set(joints)
        transform = self._configuration.get_transform_frame_to_world(self._tool, self._tool_type)
        return transform.translation(), transform.rotation().as_matrix()

    def base_rotation(self) -> Vector:
        """Return the base frame's axes [3, 3] in the model's world."""
        transform = self._configuration.get_transform_frame_to_world(self._base, self._base_type)
        return transform.rotation().as_matrix()

    def begin(self, joints: Vector) -> None:
        """Take the tool's present pose as the one to start from."""
        self._wanted, self._off = self._orientation(joints), np.zeros(3)

    def step(self, joints: Vector, twist: Vector, dt: float) -> IKStep:
        """Move the tool by `twist` [6] (m/s, rad/s; world axes, about the tool) for dt seconds.

        `begin` first. Without a twist nothing moves.
        """
        joints = np.clip(joints, self.lower, self.upper)
        if not np.any(twist):
            return IKStep(joints, 1.0)
        asked = np.asarray(twist, dtype=float) * dt
        whole = self._follow(joints, asked, dt)
        change, given = whole.joints - joints, whole.scale * asked
        if whole.scale < SLOWED and asked[:3].any() and asked[3:].any():
            # A turn that the wrist cannot make must not stop the way that the tool can go.
            straight = asked * np.repeat([1.0, 0.0], 3)
            way = self._follow(joints, straight, dt)
            rest = 1.0 - whole.scale
            change = change + rest * (way.joints - joints)
            change, slower, _ = self._slow_joints(change, dt)
            given = slower * (given + rest * way.scale * straight)
        after = np.clip(joints + change, self.lower, self.upper)
        self._remember(joints, after, given)
        return IKStep(after, whole.scale, whole.reason)

    def _follow(self, joints: Vector, asked: Vector, dt: float) -> IKStep:
        """Return the step towards `asked` [6] (m, rad), slowed down in its own direction."""
        change, made_good = self._solve(joints, asked, dt)
        jacobian = self._jacobian()
        keep = self._approach(joints, change, asked, jacobian)
        change, _, slowed = self._slow_joints(change, dt)
        got = jacobian @ change - made_good
        parts = [_share(got[part], asked[part]) for part in (slice(0, 3), slice(3, 6))
                 if np.any(asked[part])]
        keep *= min(keep for _, keep in parts)
        scale = min(follow for follow, _ in parts) * keep
        after = np.clip(joints + keep * change, self.lower, self.upper)
        return IKStep(after, scale, self._why(scale, joints, change, jacobian, slowed))

    def _solve(self, joints: Vector, asked: Vector, dt: float) -> tuple[Vector, Vector]:
        """Return the joints' step [n] and the part [6] of it that makes good earlier errors."""
        position, rotation = self.pose(joints)
        now = mink.SO3.from_matrix(rotation)
        drift = (self._wanted @ now.inverse()).log()
        turn = drift * min(1.0, MAKE_GOOD * dt / max(float(np.linalg.norm(drift)), 1e-9))
        goal = mink.SO3.exp(asked[3:]) @ mink.SO3.exp(turn) @ now
        self._task.set_target(mink.SE3.from_rotation_and_translation(
            goal, position + asked[:3] + self._off))
        made_good = np.concatenate([self._off, turn])
        try:
            velocity = mink.solve_ik(self._configuration, [self._task, self._posture], dt, 'daqp',
                                     damping=DAMPING, limits=[self._limit])
        except mink.NoSolutionFound:      # numerically infeasible at a limit: stand still
            return np.zeros(len(joints)), made_good
        return velocity[self._dof] * dt, made_good

    def _remember(self, before: Vector, after: Vector, given: Vector) -> None:
        """Note how far the pose is off what was asked and given, for the next step to mend."""
        start = self.pose(before)[0] + self._off
        self._off = _shorten(start + given[:3] - self.pose(after)[0], OFF)
        now = self._orientation(after)
        drift = (mink.SO3.exp(given[3:]) @ self._wanted @ now.inverse()).log()
        self._wanted = mink.SO3.exp(_shorten(drift, DRIFT)) @ now

    def _approach(self, joints: Vector, change: Vector, asked: Vector, jacobian: Vector) -> float:
        """Return the share of a step that leads towards a singular posture, 1 on the way out.

        There the joints turn ever more for the same way of the tool, and beyond it the arm would
        sit in another branch, from which there may be no way back.
        """
        way = float(np.linalg.norm(asked * np.repeat([1.0, TURN_LENGTH], 3)))
        here = _effort(jacobian, asked) / way
        self.pose(np.clip(joints + change, self.lower, self.upper))
        there = _effort(self._jacobian(), asked) / way
        self.pose(joints)
        if there <= here:
            return 1.0
        return float(np.clip((EFFORT_STOP - there) / (EFFORT_STOP - EFFORT_FREE), 0.0, 1.0))

    def _slow_joints(self, change: Vector, dt: float) -> tuple[Vector, float, str]:
        """Return the step within the joints' speeds, its direction kept, its share, the joint."""
        ratio = np.abs(change) / (self.speed * dt)
        worst = int(np.argmax(ratio))
        if ratio[worst] <= 1.0:
            return change, 1.0, ''
        return change / ratio[worst], 1.0 / float(ratio[worst]), self.arm.joints[worst]

    def _why(self, scale: float, joints: Vector, change: Vector, jacobian: Vector,
             slowed: str) -> str:
        if scale > SLOWED:
            return ''
        at_limit = ((joints - self.lower < AT_LIMIT) & (change <= 0.0)) | (
            (self.upper - joints < AT_LIMIT) & (change >= 0.0))
        if at_limit.any():
            names = ', '.join(np.array(self.arm.joints)[at_limit])
            return f'{names} at its limit'
        weighted = jacobian * np.array([1.0, 1.0, 1.0, TURN, TURN, TURN])[:, None]
        if np.linalg.svd(weighted, compute_uv=False)[-1] < SINGULAR:
            return f'{self.arm.name} arm near a singular posture'
        return f'{slowed} at its speed limit' if slowed else f'{self.arm.name} arm out of reach'

    def _orientation(self, joints: Vector) -> mink.SO3:
        return mink.SO3.from_matrix(self.pose(joints)[1])

    def _set(self, joints: Vector) -> None:
        self._q[self._qpos] = joints
        self._configuration.update(self._q)

    def _jacobian(self) -> Vector:
        """Return the tool's Jacobian [6, n], linear above angular, world axes."""
        jacobian = self._configuration.get_frame_jacobian(self._tool, self._tool_type)
        rotation = self._configuration.get_transform_frame_to_world(
            self._tool, self._tool_type).rotation().as_matrix()
        own = jacobian[:, self._dof]
        return np.vstack([rotation @ own[:3], rotation @ own[3:]])


def _share(got: Vector, asked: Vector) -> tuple[float, float]:
    """Return the share [0, 1] of `asked` [3] that `got` gives, and how much of it may be kept."""
    follow = float(got @ asked / (asked @ asked))
    if follow <= 0.0:
        return 0.0, 0.0
    veer = float(np.linalg.norm(got - follow * asked) / np.linalg.norm(got))
    keep = float(np.clip((VEER_STOP - veer) / (VEER_STOP - VEER_FREE), 0.0, 1.0))
    return min(1.0, follow), keep


def _shorten(vector: Vector, limit: float) -> Vector:
    size = float(np.linalg.norm(vector))
    return vector if size <= limit else vector * (limit / size)


def _effort(jacobian: Vector, asked: Vector) -> float:
    """Return the largest joint step [rad] of the damped least squares for `asked` [6]."""
    weight = np.repeat([1.0, TURN], 3)
    rows = weight[:, None] * jacobian
    square = rows @ rows.T + DAMPING * np.eye(6)
    return float(np.abs(rows.T @ np.linalg.solve(square, weight * asked)).max())


def load_model(path: str) -> mujoco.MjModel:
    """Return the kinematic model of an MJCF or URDF file."""
    try:
        return mujoco.MjModel.from_xml_path(path)
    except ValueError as error:
        raise SpecError(f'{path}: is no model MuJoCo can read: {error}') from error


def _joint(model: mujoco.MjModel, name: str, arm: Arm) -> int:
    found = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)
    if found < 0:
        known = ', '.join(model.joint(i).name for i in range(model.njnt))
        raise SpecError(f'arm {arm.name}: joint {name!r} is not in the model, which has {known}')
    return int(found)


def _frame(model: mujoco.MjModel, name: str, arm: Arm, what: str) -> tuple[str, str]:
    """Return a frame's name and kind, as mink wants them."""
    for kind, number in (('site', mujoco.mjtObj.mjOBJ_SITE), ('body', mujoco.mjtObj.mjOBJ_BODY)):
        if mujoco.mj_name2id(model, number, name) >= 0:
            return name, kind
    raise SpecError(f'arm {arm.name}: {what}: {name!r} is no site and no body of the model')

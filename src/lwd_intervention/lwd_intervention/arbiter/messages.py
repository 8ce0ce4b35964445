# SPDX-License-Identifier: Apache-2.0
"""The arbiter's records as ROS messages and back; no rclpy here."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lwd_core.clock import NS_PER_S
from lwd_core.guard import Clamp
from lwd_core.robot import RobotSpec
from lwd_core.ros_tick import to_ns, to_stamp
from lwd_core.topics import CommandTag
from lwd_intervention.arbiter.records import (
    Episode,
    Executed,
    ModeChange,
    Request,
    Takeover,
    Vector,
)
from lwd_intervention.arbiter.watch import Teleop
from lwd_intervention.modes import Mode
from lwd_msgs.msg import (
    ControlMode,
    EpisodeState,
    ExecutedAction,
    Intervention,
    PolicyStatus,
    TeleopStatus,
)

assert all(getattr(ExecutedAction, f'CLAMP_{bit.name}', bit.value) == bit.value
           for bit in Clamp if bit)


def request(message: JointTrajectory) -> Request:
    """Read a command; positions stay raw, the guard judges them."""
    positions = message.points[0].positions if len(message.points) == 1 else ()
    return Request(to_ns(message.header.stamp), positions, message.joint_names,
                   CommandTag.decode(message.header.frame_id))


def episode(message: EpisodeState) -> Episode:
    """Read the episode's state."""
    preparing = message.phase in (EpisodeState.RESETTING, EpisodeState.READY)
    start = Mode.HUMAN if message.start_mode == EpisodeState.MODE_HUMAN else Mode.POLICY
    return Episode(message.episode_id, message.phase == EpisodeState.RUNNING,
                   preparing, start, to_ns(message.started),
                   message.phase == EpisodeState.LABELLING)


def teleop(message: TeleopStatus) -> Teleop:
    """Read whether a source's deadman is held."""
    held = message.state in (TeleopStatus.ALIGNING, TeleopStatus.DRIVING)
    return Teleop(to_ns(message.header.stamp), held, '' if held else message.reason)


def readiness(message: PolicyStatus) -> tuple[bool, str]:
    """Read whether the policy can act, and why not."""
    if message.state in (PolicyStatus.READY, PolicyStatus.ACTING):
        return True, ''
    default = {PolicyStatus.NO_POLICY: 'it has no checkpoint',
               PolicyStatus.LOADING: 'it loads its checkpoint'}.get(message.state, 'it is at fault')
    return False, message.reason or default


def control_mode(change: ModeChange) -> ControlMode:
    """Return the message of a transition."""
    message = ControlMode(
        mode=int(change.mode), previous=int(change.previous), reason=change.reason,
        requested_by=change.requested_by, tick=change.tick, epoch=change.epoch)
    message.header.stamp = to_stamp(change.stamp_ns)
    return message


def intervention(takeover: Takeover) -> Intervention:
    """Return the message of a takeover's start or end."""
    message = Intervention(
        event=Intervention.STARTED if takeover.end_reason is None else Intervention.ENDED,
        id=takeover.id, episode_id=takeover.episode_id, operator_name=takeover.operator,
        source=takeover.source, reason=takeover.reason, end_reason=takeover.end_reason or '',
        start_tick=takeover.start_tick, end_tick=takeover.end_tick,
        checkpoint=takeover.checkpoint, overruled_chunk=takeover.overruled_chunk)
    message.header.stamp = to_stamp(takeover.stamp_ns)
    return message


class CommandMessages:
    """Make the driver's command and executed_action; messages are reused, publishing copies."""

    def __init__(self, robot: RobotSpec) -> None:
        """Prepare what never changes."""
        point = JointTrajectoryPoint()
        point.time_from_start.sec = robot.period_ns // NS_PER_S
        point.time_from_start.nanosec = robot.period_ns % NS_PER_S
        self._trajectory = JointTrajectory(
            joint_names=list(robot.joint_names), points=[point])
        self._forward = Float64MultiArray()
        self._executed = ExecutedAction(joint_names=list(robot.joint_names))
        self._as_trajectory = robot.command_interface == 'joint_trajectory'

    def command(self, executed: Executed) -> JointTrajectory | Float64MultiArray:
        """Return what the driver takes."""
        sent = _array(executed.sent)
        if not self._as_trajectory:
            self._forward.data = sent
            return self._forward
        self._trajectory.header.stamp = to_stamp(executed.stamp_ns)
        self._trajectory.points[0].positions = sent
        return self._trajectory

    def executed(self, executed: Executed) -> ExecutedAction:
        """Return the record of the tick."""
        message, tag = self._executed, executed.tag
        message.header.stamp = to_stamp(executed.stamp_ns)
        message.source, message.epoch = int(executed.source), executed.epoch
        message.tick, message.clamped = executed.tick, int(executed.clamped)
        message.requested, message.sent = _array(executed.requested), _array(executed.sent)
        message.chunk_id, message.chunk_index = (tag.chunk, tag.index) if tag else (0, 0)
        return message


def joint_positions(message: Any, order: list[int]) -> Vector:
    """Return a JointState's positions [d] in the robot file's order."""
    return np.asarray(message.position, dtype=np.float64)[order]


def _array(values: Any) -> array[float]:
    return values if isinstance(values, array) else array('d', values)

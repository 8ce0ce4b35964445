# SPDX-License-Identifier: Apache-2.0
"""The teleoperation session's data as ROS 2 messages and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lwd_core.ros_tick import to_ns, to_stamp
from lwd_intervention.teleop.controls import JoySample
from lwd_intervention.teleop.effects import SendCommand
from lwd_intervention.teleop.session import Session
from lwd_msgs.msg import TeleopStatus


def joy_sample(message: Any) -> JoySample:
    """Return a sensor_msgs/Joy as plain data."""
    return JoySample(to_ns(message.header.stamp), tuple(message.axes), tuple(message.buttons),
                     message.header.frame_id)


def command(record: SendCommand, joint_names: Sequence[str]) -> JointTrajectory:
    """Return teleop/command for one tick."""
    message = JointTrajectory(joint_names=list(joint_names), points=[
        JointTrajectoryPoint(positions=record.positions.tolist())])
    message.header.stamp = to_stamp(record.stamp_ns)
    return message


def status(session: Session, now_ns: int, operator: str, device: str) -> TeleopStatus:
    """Return the session's state."""
    arms, told = session.source.arms, session.source.status()
    selected = told.get('selected', arms)
    step = session.last_step
    scales = step.limit_scale if step is not None else {}
    age = session.health.age(now_ns)
    message = TeleopStatus(
        source=session.source.name, operator_name=operator, device=device,
        state=int(session.state), reason=session.reason, arms=list(arms),
        deadman=[session.held.get(arm, False) for arm in arms],
        selected=[arm in selected for arm in arms],  # type: ignore[operator]
        limit_scale=[float(scales.get(arm, 1.0)) for arm in arms],
        frame=str(told.get('frame', '')), slow=bool(told.get('slow', False)),
        input_age=min(age, 3600.0))
    message.header.stamp = to_stamp(now_ns)
    return message

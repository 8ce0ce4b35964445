# SPDX-License-Identifier: Apache-2.0
"""Names, types and QoS of everything LWD says over ROS 2, as data.

Names without a leading slash are relative to the robot's namespace `/<robot>`. `ros_qos.py` turns
a spec into rclpy's QoSProfile; nothing else in the project writes a topic name or a QoS setting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import re


@dataclass(frozen=True)
class TopicSpec:
    """One topic: `type` is 'package/msg/Name'; `depth` is the history kept on both sides."""

    name: str
    type: str
    depth: int
    reliable: bool = True
    latched: bool = False  # transient local: late joiners get the last message

    @property
    def reliability(self) -> str:
        """Return 'reliable' or 'best_effort'."""
        return 'reliable' if self.reliable else 'best_effort'

    @property
    def durability(self) -> str:
        """Return 'transient_local' or 'volatile'."""
        return 'transient_local' if self.latched else 'volatile'


def _sensor(name: str, type_: str, depth: int = 5) -> TopicSpec:
    return TopicSpec(name, type_, depth, reliable=False)


def _event(name: str, type_: str, depth: int = 10) -> TopicSpec:
    return TopicSpec(name, type_, depth)


def _latched(name: str, type_: str) -> TopicSpec:
    return TopicSpec(name, type_, 1, latched=True)


_TRAJECTORY = 'trajectory_msgs/msg/JointTrajectory'

JOINT_STATES = _sensor('joint_states', 'sensor_msgs/msg/JointState')
STATE_OBSERVATION = _sensor('state_observation', 'lwd_msgs/msg/StateObservation')
SIM_STATE = _sensor('sim/state', 'lwd_msgs/msg/SimState')
SUCCESS = _latched('success', 'std_msgs/msg/Bool')

POLICY_COMMAND = _event('policy/command', _TRAJECTORY, 1)
POLICY_CHUNK = _event('policy/chunk', 'lwd_msgs/msg/ActionChunk')
POLICY_STATUS = _latched('policy/status', 'lwd_msgs/msg/PolicyStatus')
POLICY_CADENCE = _event('policy/cadence', 'lwd_msgs/msg/CadenceReport')
TELEOP_COMMAND = _event('teleop/command', _TRAJECTORY, 1)
JOY = _event('joy', 'sensor_msgs/msg/Joy')
TELEOP_REASON = _event('teleop/reason', 'std_msgs/msg/String')  # why a takeover, in words
TELEOP_STATUS = _event('teleop/status', 'lwd_msgs/msg/TeleopStatus')

COMMAND = _event('command', _TRAJECTORY, 1)  # joint_trajectory_controller
COMMAND_FORWARD = replace(COMMAND, type='std_msgs/msg/Float64MultiArray')
EXECUTED_ACTION = _event('executed_action', 'lwd_msgs/msg/ExecutedAction')
CONTROL_MODE = _latched('control_mode', 'lwd_msgs/msg/ControlMode')
INTERVENTION = _event('intervention', 'lwd_msgs/msg/Intervention')

EPISODE = _latched('episode', 'lwd_msgs/msg/EpisodeState')
RECORDER_STATUS = _latched('recorder/status', 'lwd_msgs/msg/RecorderStatus')
UPLOAD_STATUS = _latched('upload/status', 'lwd_msgs/msg/UploadStatus')

# rclpy's own clock subscription is best effort, which a reliable publisher also serves; the tick
# sources need every message, since in lockstep a lost clock is a stalled simulation.
CLOCK = _event('/clock', 'rosgraph_msgs/msg/Clock')
DIAGNOSTICS = _event('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray')
CHECKPOINT = _latched('/lwd/checkpoint', 'lwd_msgs/msg/CheckpointAnnouncement')
LEARNER_STATUS = _latched('/lwd/learner/status', 'lwd_msgs/msg/LearnerStatus')

# Services and the action: name -> type, relative to the robot's namespace.
SERVICES = {
    'arbiter/request_mode': 'lwd_msgs/srv/RequestMode',
    'episode/start': 'lwd_msgs/srv/StartEpisode',
    'episode/stop': 'lwd_msgs/srv/StopEpisode',
    'episode/label': 'lwd_msgs/srv/LabelEpisode',
    'episode/discard': 'lwd_msgs/srv/DiscardEpisode',
    'episode/success': 'std_srvs/srv/Trigger',
    'policy/load_checkpoint': 'lwd_msgs/srv/LoadCheckpoint',
    'policy/rollback': 'std_srvs/srv/Trigger',
    'reset_scene': 'lwd_msgs/srv/ResetScene',
}
RUN_EPISODE = 'run_episode'  # action, lwd_msgs/action/RunEpisode

COMMAND_INTERFACES = {'joint_trajectory': COMMAND, 'forward_command': COMMAND_FORWARD}


def camera(name: str) -> TopicSpec:
    """Return the topic of a camera's compressed images."""
    return _sensor(f'camera/{name}/image/compressed', 'sensor_msgs/msg/CompressedImage', 1)


def camera_raw(name: str) -> TopicSpec:
    """Return the topic of a camera's raw images; reliable, since best effort loses half of them."""
    return _event(f'camera/{name}/image', 'sensor_msgs/msg/Image', 1)


def command(interface: str) -> TopicSpec:
    """Return the driver's command topic for a robot file's `command_interface`."""
    if interface not in COMMAND_INTERFACES:
        known = ', '.join(sorted(COMMAND_INTERFACES))
        raise ValueError(f"command_interface: '{interface}' is not one of {known}")
    return COMMAND_INTERFACES[interface]


def robot_topics(cameras: tuple[str, ...], command_interface: str) -> tuple[TopicSpec, ...]:
    """Return every topic of one robot that belongs in its episode bags."""
    return (
        *(camera(name) for name in cameras),
        JOINT_STATES, STATE_OBSERVATION, SIM_STATE, SUCCESS,
        POLICY_COMMAND, POLICY_CHUNK, POLICY_STATUS, POLICY_CADENCE,
        TELEOP_COMMAND, TELEOP_STATUS, TELEOP_REASON, JOY,
        command(command_interface), EXECUTED_ACTION, CONTROL_MODE, INTERVENTION, EPISODE,
    )


@dataclass(frozen=True)
class CommandTag:
    """Where a policy command comes from; rides in JointTrajectory.header.frame_id.

    epoch: ControlMode.epoch the chunk was planned in (the arbiter refuses older ones).
    chunk, index: ActionChunk.chunk_id (never 0) and the row of the chunk.
    """

    epoch: int
    chunk: int
    index: int

    def encode(self) -> str:
        """Return the frame_id, e.g. 'epoch=3 chunk=17 index=4'."""
        return f'epoch={self.epoch} chunk={self.chunk} index={self.index}'

    @classmethod
    def decode(cls, frame_id: str) -> CommandTag | None:
        """Return the tag, or None where frame_id holds something else (a source without chunks)."""
        match = re.fullmatch(r'epoch=(\d+) chunk=(\d+) index=(\d+)', frame_id)
        return None if match is None else cls(*(int(group) for group in match.groups()))

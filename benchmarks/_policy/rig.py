# SPDX-License-Identifier: Apache-2.0
"""The real policy node in a process of its own, and everything around it played by this one."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import psutil
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
import yaml

from lwd_core import topics
from lwd_core.robot import RobotSpec
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_tick import make_tick_source, to_ns, to_stamp
from lwd_core.topics import CommandTag
from lwd_msgs.msg import (
    ActionChunk,
    CheckpointAnnouncement,
    ControlMode,
    EpisodeState,
    PolicyStatus,
    StateObservation,
)


class Rig(Node):
    """Sensors at the control rate, an arbiter in POLICY, an episode machine, a learner."""

    def __init__(self, robot: RobotSpec) -> None:
        super().__init__('rig', namespace='bench')
        self.robot = robot
        self.status, self.status_at = PolicyStatus(), 0.0
        self.chunks: dict[int, ActionChunk] = {}
        self.commands: list[tuple[int, int, int]] = []  # received [ns], chunk, index
        self._epoch = 0
        self._joints = publisher(self, topics.JOINT_STATES)
        self._state = publisher(self, topics.STATE_OBSERVATION)
        self._mode = publisher(self, topics.CONTROL_MODE)
        self._episode = publisher(self, topics.EPISODE)
        self._announce = publisher(self, topics.CHECKPOINT)
        subscription(self, topics.POLICY_STATUS, self._on_status)
        subscription(self, topics.POLICY_CHUNK, self._on_chunk)
        subscription(self, topics.POLICY_COMMAND, self._on_command)
        self.ticks = make_tick_source(self, robot.period_ns, self._on_tick)

    def _on_status(self, message: PolicyStatus) -> None:
        self.status, self.status_at = message, time.monotonic()

    def _on_chunk(self, message: ActionChunk) -> None:
        self.chunks[message.chunk_id] = message

    def _on_command(self, message: Any) -> None:
        tag = CommandTag.decode(message.header.frame_id)
        self.commands.append((time.time_ns(), tag.chunk, tag.index))

    def _on_tick(self, tick: Any) -> None:
        stamp = to_stamp(tick.stamp_ns)
        joints = JointState(name=list(self.robot.joint_names), position=list(self.robot.home))
        state = StateObservation(names=list(self.robot.state_names),
                                 values=[0.0] * len(self.robot.state_names))
        joints.header.stamp = state.header.stamp = stamp
        self._joints.publish(joints)
        self._state.publish(state)

    def announce(self, ref: Any) -> None:
        """Say that there is a new checkpoint, as the learner does."""
        self._announce.publish(CheckpointAnnouncement(
            channel='stable', digest=ref.digest, step=ref.step, uri=ref.uri))

    def phase(self, phase: int, episode_id: str = 'bench') -> None:
        """Publish the episode's phase."""
        self._episode.publish(EpisodeState(
            phase=phase, episode_id=episode_id, instruction='put it there'))

    def drive(self, policy: bool) -> None:
        """Publish a mode transition: POLICY or HOLD."""
        self._epoch += 1
        message = ControlMode(mode=ControlMode.POLICY if policy else ControlMode.HOLD,
                              epoch=self._epoch)
        message.header.stamp = self.get_clock().now().to_msg()
        self._mode.publish(message)

    def ages(self) -> list[float]:
        """Return, for every command, how old [s] the observation was that its chunk saw."""
        seen = {key: max(map(to_ns, chunk.observation_stamps))
                for key, chunk in self.chunks.items() if chunk.observation_stamps}
        return [(at - seen[chunk]) / 1e9 for at, chunk, _ in self.commands if chunk in seen]


class PolicyProcess:
    """The policy node, started with these parameters."""

    def __init__(self, folder: Path, robot: RobotSpec, **parameters: Any) -> None:
        robot_file = folder / 'robot.yaml'
        robot_file.write_text(yaml.safe_dump(robot.to_dict()))
        values = {'robot_file': str(robot_file), 'store': str(folder / 'store'),
                  'poll_period': 0.0, **parameters}
        arguments = [part for key, value in values.items() for part in ('-p', f'{key}:={value}')]
        self._log = open(folder / 'policy.log', 'w')
        self.log_path = folder / 'policy.log'
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'lwd_policy_node.policy_node', '--ros-args', '-r',
             '__ns:=/bench', *arguments], stdout=self._log, stderr=subprocess.STDOUT)

    def memory(self) -> dict[str, float]:
        """Return the proportional memory [MiB] of node and worker."""
        node = psutil.Process(self._process.pid)
        workers = node.children(recursive=True)
        return {'node': _mib(node), 'worker': sum(map(_mib, workers))}

    def close(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()


def _mib(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss) / 2**20


@contextlib.contextmanager
def spinning(robot: RobotSpec) -> Any:
    """Yield a rig that spins in a thread."""
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ.setdefault('ROS_DOMAIN_ID', str(60 + os.getpid() % 40))  # beside others'
    rclpy.init()
    rig, executor = Rig(robot), SingleThreadedExecutor()
    executor.add_node(rig)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    try:
        yield rig
    finally:
        rig.ticks.stop()
        rclpy.shutdown()
        thread.join()


def _spin(executor: SingleThreadedExecutor) -> None:
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()


def wait(condition: Callable[[], Any], what: str, timeout: float = 120.0) -> None:
    """Wait for a condition, or end the benchmark saying what did not happen."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            sys.exit(f'{what}: not within {timeout:g} s')
        time.sleep(0.002)

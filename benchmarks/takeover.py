# SPDX-License-Identifier: Apache-2.0
"""How long from a person's button to the person's command at the driver?

Starts the real arbiter on wall time; a policy and a person stream a command at every tick. At a
random moment the mode HUMAN is requested; the clock stops when the driver's topic carries the
person's command. Counts policy commands that come out after that. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lwd_core import topics
from lwd_core.clock import period_ns
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_tick import make_tick_source, to_stamp
from lwd_core.topics import CommandTag
from lwd_msgs.msg import ControlMode, EpisodeState, PolicyStatus
from lwd_msgs.srv import RequestMode

ROBOT = '''
name: bench
model: one joint
control_rate: {rate}
joints: [{{name: elbow, lower: -1.0, upper: 1.0, velocity: 10.0, acceleration: 2000.0}}]
cameras: []
'''
POLICY, HUMAN = 0.10, 0.15  # rad; close enough for the guard, far enough to tell apart


class Rig(Node):
    """Driver, policy and person in one process beside the arbiter's."""

    def __init__(self, rate: float) -> None:
        super().__init__('rig', namespace='bench')
        self.mode = ControlMode()
        self.human_at = 0.0        # wall time of the first human command since `watch`
        self.strays = 0            # policy commands after it
        self.watching = False
        self._joints = publisher(self, topics.JOINT_STATES)
        self._policy = publisher(self, topics.POLICY_COMMAND)
        self._teleop = publisher(self, topics.TELEOP_COMMAND)
        self._status = publisher(self, topics.POLICY_STATUS)
        self._episode = publisher(self, topics.EPISODE)
        subscription(self, topics.COMMAND, self._on_command)
        subscription(self, topics.CONTROL_MODE, self._on_mode)
        self.request = self.create_client(RequestMode, 'arbiter/request_mode')
        self._status.publish(PolicyStatus(state=PolicyStatus.READY))
        self.ticks = make_tick_source(self, period_ns(rate), self._on_tick)

    def _on_mode(self, message: ControlMode) -> None:
        self.mode = message

    def _on_tick(self, tick: Any) -> None:
        stamp = to_stamp(tick.stamp_ns)
        joints = JointState(name=['elbow'], position=[POLICY])
        joints.header.stamp = stamp
        self._joints.publish(joints)
        self._teleop.publish(_command(stamp, HUMAN, ''))
        if self.mode.mode == ControlMode.POLICY:
            self._policy.publish(_command(
                stamp, POLICY, CommandTag(self.mode.epoch, 1, 0).encode()))

    def _on_command(self, message: JointTrajectory) -> None:
        human = abs(message.points[0].positions[0] - HUMAN) < 1e-6
        if self.watching and human and not self.human_at:
            self.human_at = time.monotonic()
        elif self.watching and self.human_at and not human:
            self.strays += 1

    def phase(self, phase: int) -> None:
        """Publish the episode's phase."""
        self._episode.publish(EpisodeState(
            episode_id='bench', phase=phase, start_mode=EpisodeState.MODE_POLICY))

    def ask(self, mode: int) -> None:
        """Request a mode; the answer is not waited for."""
        self.request.call_async(RequestMode.Request(mode=mode, source='bench'))


def _command(stamp: Any, position: float, frame_id: str) -> JointTrajectory:
    message = JointTrajectory(
        joint_names=['elbow'], points=[JointTrajectoryPoint(positions=[position])])
    message.header.stamp, message.header.frame_id = stamp, frame_id
    return message


def _wait(condition: Any, what: str, timeout: float = 15.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            sys.exit(f'{what}: not within {timeout} s')
        time.sleep(0.002)


def measure(rig: Rig, count: int, rate: float) -> tuple[list[float], int]:
    """Return the latencies [s] of `count` takeovers and the stray policy commands."""
    latencies, random_phase = [], random.Random(0)
    for _ in range(count):
        _wait(lambda: rig.mode.mode == ControlMode.POLICY, 'POLICY')
        time.sleep((3 + random_phase.random()) / rate)
        rig.human_at, rig.watching = 0.0, True
        asked = time.monotonic()
        rig.ask(ControlMode.HUMAN)
        _wait(lambda: rig.human_at > 0.0, 'a human command at the driver')
        latencies.append(rig.human_at - asked)
        time.sleep(3 / rate)
        rig.watching = False
        rig.ask(ControlMode.POLICY)
    return latencies, rig.strays


def _spin(executor: SingleThreadedExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        pass


def _burn(count: int) -> list[subprocess.Popen[bytes]]:
    return [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(count)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--takeovers', type=int, default=500)
    parser.add_argument('--rate', type=float, default=25.0, help='control rate [Hz]')
    parser.add_argument('--load', type=int, default=os.cpu_count(), help='busy processes beside')
    options = parser.parse_args()
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ.setdefault('ROS_DOMAIN_ID', '49')
    with tempfile.TemporaryDirectory() as folder:
        robot_file = Path(folder) / 'robot.yaml'
        robot_file.write_text(ROBOT.format(rate=options.rate))
        arbiter = subprocess.Popen([
            sys.executable, '-m', 'lwd_intervention.arbiter_node', '--ros-args', '-r',
            '__ns:=/bench', '-p', f'robot_file:={robot_file}'], stderr=subprocess.DEVNULL)
        rclpy.init()
        rig, executor = Rig(options.rate), SingleThreadedExecutor()
        executor.add_node(rig)
        thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
        thread.start()
        burners: list[subprocess.Popen[bytes]] = []
        try:
            _wait(rig.request.service_is_ready, 'arbiter')
            _wait(lambda: rig.mode.requested_by != '', 'control_mode')
            rig.phase(EpisodeState.READY)
            time.sleep(0.5)
            rig.phase(EpisodeState.RUNNING)
            burners = _burn(options.load)
            latencies, strays = measure(rig, options.takeovers, options.rate)
        finally:
            for process in (arbiter, *burners):
                process.send_signal(signal.SIGTERM)
            rig.ticks.stop()
            rclpy.shutdown()
            thread.join()
    p50, p99 = np.percentile(latencies, (50, 99)) * 1e3
    print(f'{len(latencies)} takeovers at {options.rate:g} Hz beside {options.load} busy processes:'
          f' p50 {p50:.1f} ms, p99 {p99:.1f} ms; target p99 {1e3 / options.rate + 5:.0f} ms')
    print(json.dumps({
        'benchmark': 'takeover', 'takeovers': len(latencies), 'rate': options.rate,
        'load': options.load, 'p50_ms': p50, 'p99_ms': p99, 'max_ms': max(latencies) * 1e3,
        'target_p99_ms': 1e3 / options.rate + 5.0, 'policy_commands_after_the_switch': strays}))


if __name__ == '__main__':
    main()

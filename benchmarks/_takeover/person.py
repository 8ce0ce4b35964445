# SPDX-License-Identifier: Apache-2.0
"""The person: a command at every tick, takes over at a random moment, hands back."""

from __future__ import annotations

from collections.abc import Callable
import random
import sys
import threading
import time
from typing import Any

from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lwd_core import topics
from lwd_core.robot import RobotSpec
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_tick import make_tick_source, to_ns, to_stamp
from lwd_core.topics import CommandTag
from lwd_msgs.msg import ControlMode, EpisodeState, PolicyStatus
from lwd_msgs.srv import RequestMode

PATIENCE = 20.0  # s
OFFSET = 0.02    # rad between what the person and the scripted policy ask for


class Person(Node):
    """Also plays the episode machine and, without a real one, the policy."""

    def __init__(self, robot: RobotSpec, namespace: str, plays_policy: bool) -> None:
        super().__init__('person', namespace=namespace)
        self.robot, self._plays_policy = robot, plays_policy
        self.mode, self.policy_state = ControlMode(), PolicyStatus.NO_POLICY
        self.executed: list[tuple[int, int]] = []  # stamp, source
        self._lock = threading.Lock()
        self._epoch_began = 0
        self._teleop = publisher(self, topics.TELEOP_COMMAND)
        self._episode = publisher(self, topics.EPISODE)
        subscription(self, topics.CONTROL_MODE, self._on_mode)
        subscription(self, topics.EXECUTED_ACTION, self._on_executed)
        self.request = self.create_client(RequestMode, 'arbiter/request_mode')
        if plays_policy:
            self._policy = publisher(self, topics.POLICY_COMMAND)
            self._status = publisher(self, topics.POLICY_STATUS)
            self._status.publish(PolicyStatus(state=PolicyStatus.READY, checkpoint='scripted'))
        subscription(self, topics.POLICY_STATUS, self._on_policy_status)
        self.ticks = make_tick_source(self, robot.period_ns, self._on_tick)

    def _on_mode(self, message: ControlMode) -> None:
        self.mode = message

    def _on_executed(self, message: Any) -> None:
        self.executed.append((to_ns(message.header.stamp), message.source))

    def _on_policy_status(self, message: PolicyStatus) -> None:
        self.policy_state = message.state

    def _on_tick(self, tick: Any) -> None:
        self._teleop.publish(self._command(tick.stamp_ns, OFFSET, ''))
        mode = self.mode
        if self._plays_policy and mode.mode == ControlMode.POLICY:
            row = (tick.stamp_ns - to_ns(mode.header.stamp)) // self.robot.period_ns
            if row >= 0:
                tag = CommandTag(mode.epoch, 1, row % 8).encode()
                self._policy.publish(self._command(tick.stamp_ns, 0.0, tag))

    def _command(self, stamp_ns: int, offset: float, frame_id: str) -> JointTrajectory:
        positions = [value + offset for value in self.robot.home[:1]] + list(self.robot.home[1:])
        message = JointTrajectory(joint_names=list(self.robot.joint_names),
                                  points=[JointTrajectoryPoint(positions=positions)])
        message.header.stamp, message.header.frame_id = to_stamp(stamp_ns), frame_id
        return message

    def phase(self, phase: int, instruction: str = 'put the milk on the shelf') -> None:
        """Publish the episode's phase."""
        message = EpisodeState(episode_id='20260101T000000.000Z_bench_place', robot='bench',
                               task='place', instruction=instruction, phase=phase,
                               start_mode=EpisodeState.MODE_POLICY, time_limit=3600.0)
        now = to_stamp(time.time_ns())
        message.header.stamp = now
        if phase >= EpisodeState.RUNNING or phase == EpisodeState.IDLE:
            message.started = now
        self._episode.publish(message)

    def ask(self, mode: int) -> None:
        """Request a mode; the answer is not waited for."""
        self.request.call_async(RequestMode.Request(
            mode=mode, operator_name='bench', source='bench'))


def wait(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """Wait, or leave with what did not happen."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            sys.exit(f'{what}: not within {timeout} s')
        time.sleep(0.002)


def take_over(person: Person, count: int, rate: float, said: Callable[[int], None]) -> list[
        tuple[int, int]]:
    """Take over `count` times; return when [monotonic ns] each was asked for and handed back."""
    moments, random_phase = [], random.Random(0)
    for number in range(count):
        _hand_back(person)
        time.sleep((2 + random_phase.random()) / rate)
        if person.mode.mode != ControlMode.POLICY:  # a machine too busy for the policy: it held
            continue
        asked = time.monotonic_ns()
        person.ask(ControlMode.HUMAN)
        time.sleep(4 / rate)
        moments.append((asked, time.monotonic_ns()))
        _hand_back(person)
        said(number + 1)
    return moments


def _hand_back(person: Person) -> None:
    end = time.monotonic() + PATIENCE
    while person.mode.mode != ControlMode.POLICY:
        if time.monotonic() > end:
            sys.exit(f'POLICY: not within {PATIENCE} s; {person.mode.reason}')
        person.ask(ControlMode.POLICY)
        wait_until = time.monotonic() + 0.2
        while person.mode.mode != ControlMode.POLICY and time.monotonic() < wait_until:
            time.sleep(0.002)

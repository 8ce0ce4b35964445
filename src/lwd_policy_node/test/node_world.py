# SPDX-License-Identifier: Apache-2.0
"""The rest of a robot for tests of the policy node over DDS: sensors, clock, arbiter, episodes."""

from dataclasses import replace
import os
import time

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
import yaml

from lwd_core import topics
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_spin import make_executor
from lwd_core.ros_tick import to_ns, to_stamp
from lwd_msgs.msg import (
    CheckpointAnnouncement,
    ControlMode,
    EpisodeState,
    PolicyStatus,
    StateObservation,
)
from lwd_msgs.srv import LoadCheckpoint
from lwd_policy_node.policy_node import PolicyNode
from lwd_policy_node.spin_node import autostart

PERIOD = 40_000_000
PATIENCE_S = 120.0


class World:
    """The robot's other nodes, and the executor that all share."""

    def __init__(self, tmp_path, robot, **overrides):
        self.context = Context()
        rclpy.init(context=self.context, domain_id=int(
            os.environ.get('ROS_DOMAIN_ID', 20 + os.getpid() % 80)))
        self.executor = make_executor(context=self.context)
        (tmp_path / 'robot.yaml').write_text(yaml.safe_dump(robot.to_dict()))
        values = dict(robot_file=str(tmp_path / 'robot.yaml'), store=str(tmp_path / 'store'),
                      poll_period=0.0, use_sim_time=True, loader='fakes:load', inference='inline',
                      join_wait=0.5, lookahead=0)
        values.update(overrides)
        self.robot, self.tick, self.epoch = robot, 100, 0
        self.reports = []
        self.commands, self.chunks, self.status, self.diagnostics = [], [], None, None
        self.node = PolicyNode(
            context=self.context, namespace='/r', cli_args=[
                '--ros-args', '-r', '/clock:=clock', '-r', '/lwd/checkpoint:=checkpoint'],
            parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
        self.peer = rclpy.create_node('peer', context=self.context, namespace='/r')
        self._connect()
        for node in (self.node, self.peer):
            self.executor.add_node(node)
        self.started = autostart(self.node)

    def _connect(self):
        def pub(spec):
            return publisher(self.peer, spec)
        self.clock = self.peer.create_publisher(Clock, 'clock', 10)
        self.joints, self.state = pub(topics.JOINT_STATES), pub(topics.STATE_OBSERVATION)
        self.mode, self.episode = pub(topics.CONTROL_MODE), pub(topics.EPISODE)
        self.announce = pub(replace(topics.CHECKPOINT, name='checkpoint'))
        subscription(self.peer, topics.POLICY_COMMAND, self.commands.append)
        subscription(self.peer, topics.POLICY_CHUNK, self.chunks.append)
        subscription(self.peer, topics.POLICY_CADENCE, self.reports.append)
        self.executed = pub(topics.EXECUTED_ACTION)
        subscription(self.peer, topics.POLICY_STATUS, lambda m: setattr(self, 'status', m))
        self.peer.create_subscription(
            DiagnosticArray, '/diagnostics', lambda m: setattr(self, 'diagnostics', m), 10)
        self.load = self.peer.create_client(LoadCheckpoint, 'policy/load_checkpoint')

    def close(self):
        self.node.close()
        self.executor.shutdown()
        self.node.destroy_node()
        self.peer.destroy_node()
        rclpy.shutdown(context=self.context)

    def spin_until(self, condition, what, timeout=PATIENCE_S):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f'{what}: {self.status}'
            self.executor.spin_once(timeout_sec=0.02)

    def spin_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.01)

    def wait_state(self, state, **fields):
        self.spin_until(lambda: self.status is not None and self.status.state == state and all(
            getattr(self.status, key) == value for key, value in fields.items()), f'state {state}')

    def give(self, digest, step=0):
        self.spin_until(lambda: self.announce.get_subscription_count() > 0, 'discovery')
        self.announce.publish(CheckpointAnnouncement(channel='stable', digest=digest, step=step))

    def set_episode(self, phase, instruction='put it there', episode_id='episode_1'):
        self.episode.publish(EpisodeState(
            phase=phase, episode_id=episode_id, instruction=instruction))

    def set_mode(self, mode):
        self.epoch += 1
        message = ControlMode(mode=mode, epoch=self.epoch)
        message.header.stamp = to_stamp(self.tick * PERIOD)
        self.mode.publish(message)

    def run_policy(self, instruction='put it there'):
        self.set_episode(EpisodeState.RUNNING, instruction)
        self.spin_until(lambda: self.node.loop.situation.instruction == instruction, 'episode')
        self.set_mode(ControlMode.POLICY)
        self.spin_until(lambda: self.node.loop.situation.policy_drives, 'mode')

    def step(self, late_state=False):
        """Publish the sensors and the clock of the next tick."""
        self.tick += 1
        stamp = to_stamp(self.tick * PERIOD)
        state = self.sensors(stamp, with_state=not late_state)
        self.clock.publish(Clock(clock=stamp))
        if late_state:
            self.spin_for(0.1)
            self.state.publish(state)

    def sensors(self, stamp, with_state=True):
        joints = JointState(name=list(self.robot.joint_names), position=[0.1, 0.2, 0.3])
        state = StateObservation(names=['x', 'y'], values=[float(self.tick % 1000), 0.0])
        joints.header.stamp = state.header.stamp = stamp
        self.joints.publish(joints)
        if with_state:
            self.state.publish(state)
        return state

    def lockstep(self, ticks, **kwargs):
        """Step and wait for each tick's command; return the commands."""
        first = len(self.commands)
        for _ in range(ticks):
            self.step(**kwargs)
            stamp = self.tick * PERIOD
            self.spin_until(lambda s=stamp: self.commands and to_ns(
                self.commands[-1].header.stamp) == s, f'command of tick {self.tick}')
        return self.commands[first:]


def connected(world, digest='ok1'):
    """Load a policy and wait until the sensors are connected."""
    world.give(digest)
    world.wait_state(PolicyStatus.READY, checkpoint=digest)
    world.spin_until(lambda: world.clock.get_subscription_count()
                     and world.joints.get_subscription_count()
                     and world.state.get_subscription_count()
                     and world.mode.get_subscription_count(), 'discovery')

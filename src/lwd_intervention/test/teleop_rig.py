# SPDX-License-Identifier: Apache-2.0
"""The simulated robot's joints, a policy and a scripted pad around the real nodes, in lockstep."""

from contextlib import contextmanager
from pathlib import Path
import threading

import numpy as np
from rclpy.node import Node
from ros_fixtures import NAMESPACE, PATIENCE, SOURCES, wait_for, world
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState, Joy
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lwd_core import topics
from lwd_core.robot import RobotSpec
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_tick import to_ns, to_stamp
from lwd_core.topics import CommandTag
from lwd_intervention.arbiter_node import build_node as build_arbiter
from lwd_intervention.episode_node import build_node as build_episode
from lwd_intervention.modes import Mode
from lwd_intervention.teleop.mapping import Mapping
from lwd_intervention.teleop_node import build_node as build_teleop
from lwd_msgs.msg import PolicyStatus, TeleopStatus

CONFIG = Path(__file__).parents[3] / 'config'
ROBOT = RobotSpec.from_yaml(CONFIG / 'robots' / 'sim.yaml')
MAPPING = Mapping.from_yaml(CONFIG / 'teleop' / 'xbox.yaml')
PERIOD = ROBOT.period_ns
REMAP = ['--ros-args', '-r', f'__ns:=/{NAMESPACE}', '-r', f'/clock:=/{NAMESPACE}/clock']


class Rig(Node):
    """One thread of the test calls `step`; everything heard is kept."""

    def __init__(self, **kwargs):
        super().__init__('rig', namespace=NAMESPACE, **kwargs)
        self.tick = 0
        self.executed, self.modes, self.status, self.episodes = [], [], [], []
        self.interventions, self.teleop = [], []
        self.joints = np.array(ROBOT.home)
        self._answer = threading.Event()
        self._joint_states = publisher(self, topics.JOINT_STATES)
        self._joy = publisher(self, topics.JOY)
        self._leader = publisher(self, topics.TopicSpec(
            'leader/joint_states', 'sensor_msgs/msg/JointState', 5, reliable=False))
        self._policy = publisher(self, topics.POLICY_COMMAND)
        self._policy_status = publisher(self, topics.POLICY_STATUS)
        self._clock = self.create_publisher(Clock, 'clock', 10)
        subscription(self, topics.EXECUTED_ACTION, self._on_executed)
        subscription(self, topics.CONTROL_MODE, self._on_mode)
        subscription(self, topics.TELEOP_STATUS, self.status.append)
        subscription(self, topics.TELEOP_COMMAND, self.teleop.append)
        subscription(self, topics.EPISODE, self.episodes.append)
        subscription(self, topics.INTERVENTION, self.interventions.append)
        self._policy_status.publish(PolicyStatus(state=PolicyStatus.READY))
        self._planned = -1
        self._published = 0

    @property
    def mode(self):
        return Mode(self.modes[-1].mode)

    def _on_mode(self, message):
        self.modes.append(message)
        self._act()

    def _on_executed(self, message):
        self.executed.append((to_ns(message.header.stamp) // PERIOD,
                              SOURCES[message.source], np.array(message.sent)))
        self.joints = np.array(message.sent)
        if to_ns(message.header.stamp) == self.tick:
            self._answer.set()

    def _act(self):
        """Answer the open tick as a policy that stands at home."""
        if self.modes and self.mode is Mode.POLICY and self._planned < self.tick and \
                to_ns(self.modes[-1].header.stamp) <= self.tick:
            self._planned = self.tick
            message = JointTrajectory(joint_names=list(ROBOT.joint_names), points=[
                JointTrajectoryPoint(positions=list(ROBOT.home))])
            message.header.stamp = to_stamp(self.tick)
            message.header.frame_id = CommandTag(self.modes[-1].epoch, 5, 0).encode()
            self._policy.publish(message)

    # -- the person ----------------------------------------------------------------------------

    def joy(self, *down, age=0, axes=None, buttons=None, **sticks):
        """Publish the pad as it is held now."""
        axes = [sticks.get(name, 0.0) for name in MAPPING.axes] if axes is None else axes
        buttons = [int(name in down) for name in MAPPING.buttons] if buttons is None else buttons
        message = Joy(axes=axes, buttons=buttons)
        message.header.stamp = to_stamp(self.tick - age)
        message.header.frame_id = 'test pad'
        self._published += 1
        self._joy.publish(message)

    def leader(self, positions):
        message = JointState(name=list(ROBOT.joint_names), position=list(map(float, positions)))
        message.header.stamp = to_stamp(self.tick)
        self._leader.publish(message)

    # -- time ----------------------------------------------------------------------------------

    def step(self, pad=None):
        """Publish the next tick, let `pad()` act, wait for the tick's command."""
        self._answer.clear()
        self.tick += PERIOD
        message = JointState(name=list(ROBOT.joint_names), position=self.joints.tolist())
        message.header.stamp = to_stamp(self.tick)
        self._joint_states.publish(message)
        if pad is not None:
            pad()
        # Simulated time waits for the pad and the node: what is counted below are ticks, not how
        # busy the machine is.
        wait_for(lambda: self.node.session.health.messages >= self._published, what='Joy heard')
        self._clock.publish(Clock(clock=to_stamp(self.tick)))
        self._act()
        assert self._answer.wait(PATIENCE), f'tick {self.tick // PERIOD} got no command'
        wait_for(lambda: self.node.now_ns() >= self.tick, what='the tick at teleoperation')

    def hold(self, *down, ticks=1, **sticks):
        """Pass ticks with the pad held so; a hand on a stick is never quite still."""
        for k in range(ticks):
            moved = {name: value + 0.002 * (-1)**k for name, value in sticks.items()}
            self.step(lambda moved=moved: self.joy(*down, **moved))

    def until(self, condition, *down, what, **sticks):
        """Hold the pad until the condition is met."""
        for _ in range(200):
            self.hold(*down, **sticks)
            if condition():
                return
        raise AssertionError(f'{what} not met; mode {self.mode.name}, {self.modes[-1].reason}; '
                             f'{self.status[-1]}')

    def sources(self, ticks):
        return [source for _, source, _ in self.executed[-ticks:]]

    def positions(self, ticks):
        return np.array([sent for _, _, sent in self.executed[-ticks:]])


@contextmanager
def rig(domain, tmp_path, episode=False, **teleop):
    """Give a rig whose tick is answered and whose pad has been heard."""
    tasks = tmp_path / 'tasks.yaml'
    tasks.write_text('tasks:\n  place: {instruction: place it, time_limit: 60.0}\n')
    files = {'robot_file': str(CONFIG / 'robots' / 'sim.yaml'), 'use_sim_time': True}
    with world(domain) as spin:
        spin(lambda **kw: build_arbiter(cli_args=REMAP, **kw), **files, hold_rate=0.0)
        node = spin(lambda **kw: build_teleop(cli_args=REMAP, **kw), **files, **{
            'arms_file': str(CONFIG / 'teleop' / 'arms' / 'sim.yaml'), 'mapping': 'xbox',
            'mapping_dir': str(CONFIG / 'teleop'), 'task': 'place', **teleop})
        if episode:
            spin(lambda **kw: build_episode(cli_args=REMAP, **kw), **files, robot='toy',
                 tasks_file=str(tasks), require_recorder=False, require_policy=False)
        made = spin(Rig)
        made.node = node
        wait_for(lambda: made.count_subscribers(f'/{NAMESPACE}/clock') >= 2 + episode
                 and made.count_subscribers(f'/{NAMESPACE}/joy') == 1
                 and made.count_publishers(f'/{NAMESPACE}/executed_action') == 1
                 and made.modes and node._request.service_is_ready()
                 and (not episode or node._episodes.ready), what='discovery')
        made.hold(ticks=3)
        sound = (TeleopStatus.LOST if teleop.get('source') == 'leader' else TeleopStatus.IDLE)
        wait_for(lambda: made.status and made.status[-1].state == sound, what='a sound pad')
        yield made



# SPDX-License-Identifier: Apache-2.0
"""The arbiter over DDS on wall time: no lockstep, a watchdog, a driver that takes plain arrays."""

import signal
import subprocess
import sys

from diagnostic_msgs.msg import DiagnosticArray
from intervention_fixtures import NAMES, PERIOD, robot
import pytest
from rclpy.node import Node
from ros_fixtures import call, NAMESPACE, trajectory, wait_for, world
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
import yaml

from lwd_core import topics
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_tick import make_tick_source, to_stamp
from lwd_core.topics import CommandTag
from lwd_intervention.arbiter_node import build_node
from lwd_msgs.msg import ControlMode, EpisodeState, PolicyStatus
from lwd_msgs.srv import RequestMode


class Rig(Node):
    """Driver, policy and person on wall time."""

    def __init__(self, **kwargs):
        super().__init__('rig', namespace=NAMESPACE, **kwargs)
        self.commands, self.modes, self.executed, self.diagnostics = [], [], [], []
        self.policy_acts, self.human_acts = False, False
        self.joints = publisher(self, topics.JOINT_STATES)
        self.episode = publisher(self, topics.EPISODE)
        self.status = publisher(self, topics.POLICY_STATUS)
        self.policy = publisher(self, topics.POLICY_COMMAND)
        self.teleop = publisher(self, topics.TELEOP_COMMAND)
        subscription(self, topics.COMMAND_FORWARD, self.commands.append)
        subscription(self, topics.CONTROL_MODE, self.modes.append)
        subscription(self, topics.EXECUTED_ACTION, self.executed.append)
        subscription(self, topics.DIAGNOSTICS, self._on_diagnostics)
        self.request = self.create_client(RequestMode, 'arbiter/request_mode')
        self.status.publish(PolicyStatus(state=PolicyStatus.READY))
        self.ticks = make_tick_source(self, PERIOD, self._on_tick)

    def _on_diagnostics(self, message: DiagnosticArray):
        if message.status[0].name.startswith(NAMESPACE):
            self.diagnostics.append(message.status[0])

    def _on_tick(self, tick):
        joints = JointState(name=list(NAMES), position=[0.5, 0.5])
        joints.header.stamp = to_stamp(tick.stamp_ns)
        self.joints.publish(joints)
        if self.policy_acts:
            tag = CommandTag(self.modes[-1].epoch, 3, 1).encode()
            self.policy.publish(trajectory(tick.stamp_ns, [0.4, 0.5], tag))
        if self.human_acts:
            self.teleop.publish(trajectory(tick.stamp_ns, [0.6, 0.5]))

    def phase(self, phase):
        self.episode.publish(EpisodeState(episode_id='e1', phase=phase, start_mode=1))

    def destroy_node(self):
        self.ticks.stop()
        super().destroy_node()


# Patient, so that only what a test does ends in HOLD, and not a machine that is busy elsewhere.
PATIENT = {'max_gap_periods': 12, 'first_command_timeout': 10.0}


@pytest.fixture
def robot_file(tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    patient = robot(command_interface='forward_command', max_observation_age={'joint_states': 10.0})
    (tmp_path / 'robot.yaml').write_text(yaml.safe_dump(patient.to_dict()))
    return str(tmp_path / 'robot.yaml')


@pytest.fixture
def rig(robot_file):
    with world(54) as spin:
        arbiter = spin(lambda **kw: build_node(namespace=NAMESPACE, **kw),
                       robot_file=robot_file, **PATIENT)
        rig = spin(Rig)
        rig.spin = spin
        wait_for(lambda: rig.modes and rig.commands, what='hold on the command topic')
        rig.phase(EpisodeState.READY)
        wait_for(lambda: arbiter.core._episode is not None, what='episode at the arbiter')
        yield rig


def mode_is(rig, mode):
    wait_for(lambda: rig.modes[-1].mode == mode, what=f'mode {mode}')


def test_takeover_loss_and_handback_on_wall_time(rig):
    assert list(rig.commands[-1].data) == [0.5, 0.5]
    rig.phase(EpisodeState.RUNNING)
    rig.policy_acts = True
    mode_is(rig, ControlMode.POLICY)
    wait_for(lambda: rig.commands[-1].data[0] == 0.4, what='policy command at the driver')
    rig.human_acts = True
    assert call(rig.request, RequestMode.Request(mode=ControlMode.HUMAN)).accepted
    wait_for(lambda: rig.commands[-1].data[0] == 0.6, what='human command at the driver')
    rig.human_acts = False
    mode_is(rig, ControlMode.HOLD)
    assert 'teleop lost' in rig.modes[-1].reason
    held = len(rig.commands)
    wait_for(lambda: len(rig.commands) > held + 10)
    assert rig.modes[-1].mode == ControlMode.HOLD
    assert all(command.data[0] == 0.6 for command in rig.commands[held:])
    assert call(rig.request, RequestMode.Request(mode=ControlMode.POLICY)).accepted
    wait_for(lambda: rig.commands[-1].data[0] == 0.4)
    stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in rig.executed]
    assert stamps == sorted(set(stamps)), 'two commands in one tick'


def test_a_starved_policy_holds_on_wall_time_and_comes_back(rig):
    rig.phase(EpisodeState.RUNNING)
    rig.policy_acts = True
    mode_is(rig, ControlMode.POLICY)
    wait_for(lambda: rig.commands[-1].data[0] == 0.4)
    rig.policy_acts = False
    mode_is(rig, ControlMode.HOLD)
    assert 'policy starved' in rig.modes[-1].reason
    rig.policy_acts = True
    mode_is(rig, ControlMode.POLICY)


def test_a_second_writer_of_command_is_named(rig):
    class Intruder(Node):
        def __init__(self, **kwargs):
            super().__init__('intruder', namespace=NAMESPACE, **kwargs)
            self.create_publisher(Float64MultiArray, 'command', 1)

    rig.phase(EpisodeState.RUNNING)
    rig.policy_acts = True
    mode_is(rig, ControlMode.POLICY)
    rig.spin(Intruder)
    mode_is(rig, ControlMode.HOLD)
    assert rig.modes[-1].reason == f'second writer of command: /{NAMESPACE}/intruder'
    wait_for(lambda: '2 writers' in rig.diagnostics[-1].message if rig.diagnostics else False,
             what='diagnostics')
    assert rig.diagnostics[-1].level == rig.diagnostics[-1].ERROR
    refused = call(rig.request, RequestMode.Request(mode=ControlMode.POLICY))
    assert not refused.accepted and 'intruder' in refused.message


@pytest.mark.parametrize(('arguments', 'words'), [
    ((), "parameter robot_file: '' refused"),
    (('-p', 'robot_file:=/nowhere.yaml'), '/nowhere.yaml'),
    (('-p', 'robot_file:=x', '-p', 'max_gap_periods:=0'),
     'parameter max_gap_periods: 0 refused, must be 1 to 50'),
])
def test_a_bad_parameter_ends_the_process_with_one_line(arguments, words):
    done = subprocess.run(
        [sys.executable, '-m', 'lwd_intervention.arbiter_node', '--ros-args', *arguments],
        capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 2 and words in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_terminated_arbiter_holds_before_it_goes(robot_file, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '55')
    process = subprocess.Popen([
        sys.executable, '-m', 'lwd_intervention.arbiter_node', '--ros-args', '-r',
        f'__ns:=/{NAMESPACE}', '-p', f'robot_file:={robot_file}',
        *(word for name, value in PATIENT.items() for word in ('-p', f'{name}:={value}'))])
    try:
        with world(55) as spin:
            rig = spin(Rig)
            wait_for(lambda: rig.modes and rig.commands)
            wait_for(rig.episode.get_subscription_count, what='arbiter')
            rig.phase(EpisodeState.READY)
            told = len(rig.diagnostics)  # by the executor that hears the episode
            wait_for(lambda: len(rig.diagnostics) > told + 1)
            rig.phase(EpisodeState.RUNNING)
            mode_is(rig, ControlMode.POLICY)
            process.send_signal(signal.SIGTERM)
            mode_is(rig, ControlMode.HOLD)
            assert rig.modes[-1].reason == 'arbiter shut down'
            assert process.wait(30.0) == 0
    finally:
        process.kill()

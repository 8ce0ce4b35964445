# SPDX-License-Identifier: Apache-2.0
"""Random sessions through both real nodes over DDS, and an arbiter killed amid a takeover."""

import random
import signal
import subprocess
import sys
import time

from intervention_fixtures import robot
import pytest
from ros_fixtures import (
    call,
    FakePolicy,
    FakeSim,
    NAMESPACE,
    Operator,
    PATIENCE,
    SOURCES,
    wait_for,
    world,
)
from std_srvs.srv import Trigger
import yaml

from lwd_intervention.arbiter_node import build_node as build_arbiter
from lwd_intervention.episode_node import build_node as build_episode
from lwd_msgs.msg import ControlMode, EpisodeState, Intervention, Outcome
from lwd_msgs.srv import LabelEpisode, StartEpisode, StopEpisode

REMAP = ['--ros-args', '-r', f'__ns:=/{NAMESPACE}', '-r', f'/clock:=/{NAMESPACE}/clock']
MODES = {ControlMode.POLICY: 'POLICY', ControlMode.HUMAN: 'HUMAN'}


def files(tmp_path):
    robot_file, tasks_file = tmp_path / 'robot.yaml', tmp_path / 'tasks.yaml'
    robot_file.write_text(yaml.safe_dump(robot().to_dict()))
    tasks_file.write_text(yaml.safe_dump({'tasks': {
        'place': {'instruction': 'place it', 'time_limit': 500.0}}}))
    return str(robot_file), str(tasks_file)


class Session:
    """The nodes of one robot and the services an operator uses."""

    def __init__(self, spin, arbiter, robot_file, tasks_file):
        self.episode = spin(
            lambda **kw: build_episode(cli_args=REMAP, **kw), robot_file=robot_file,
            tasks_file=tasks_file, robot=NAMESPACE, use_sim_time=True, require_recorder=False)
        self.arbiter, self.policy = arbiter, spin(FakePolicy)
        self.operator, self.sim = spin(Operator), spin(FakeSim)
        node = self.operator
        self.start = node.create_client(StartEpisode, 'episode/start')
        self.stop = node.create_client(StopEpisode, 'episode/stop')
        self.success = node.create_client(Trigger, 'episode/success')
        for client in (self.start, self.stop, self.success, node.label, node.request):
            assert client.wait_for_service(PATIENCE)
        wait_for(lambda: self.sim.count_subscribers(f'/{NAMESPACE}/clock') >= 4, what='discovery')
        wait_for(lambda: node.states and node.modes, what='latched state')
        wait_for(self.kick, what='first tick')

    def kick(self):
        if self.sim.commands == 0:
            self.sim.emit()
            time.sleep(0.1)
        return self.sim.commands > 0

    def ticks(self, count):
        target = self.sim.tick + count
        wait_for(lambda: self.sim.tick >= target, what=f'{count} ticks')

    def phase(self, phase):
        wait_for(lambda: self.operator.states[-1].phase == phase, what=f'phase {phase}')

    def label(self, value):
        return call(self.operator.label, LabelEpisode.Request(
            episode_id=self.operator.states[-1].episode_id, outcome=Outcome(value=value)))

    def do(self, event):
        """Let one random thing happen; whether it is granted does not matter."""
        operator = self.operator
        if event in ('POLICY', 'HUMAN', 'HOLD', 'ESTOP'):
            operator.ask(getattr(ControlMode, event), operator_name='ann', source='pad')
        elif event == 'drive':
            operator.driving = not operator.driving
        elif event == 'silence':
            self.policy.silent = not self.policy.silent
        elif event == 'start':
            mode = EpisodeState.MODE_POLICY
            call(self.start, StartEpisode.Request(task='place', start_mode=mode, seed=1))
        elif event == 'label':
            self.label(Outcome.SUCCESS)
        elif event == 'success':
            call(self.success, Trigger.Request())


@pytest.fixture
def inside(tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    robot_file, tasks_file = files(tmp_path)
    with world(53) as spin:
        arbiter = spin(lambda **kw: build_arbiter(cli_args=REMAP, **kw), robot_file=robot_file,
                       use_sim_time=True, answer_timeout=0.2)
        yield Session(spin, arbiter, robot_file, tasks_file)


EVENTS = ('start', 'start', 'HUMAN', 'HUMAN', 'POLICY', 'POLICY', 'drive', 'drive', 'silence',
          'HOLD', 'ESTOP', 'label', 'success')


def test_random_sessions_over_dds_keep_the_rules(inside):
    session, chance = inside, random.Random(5)
    for _ in range(60):
        session.do(chance.choice(EVENTS))
        session.ticks(chance.randint(1, 4))
    session.operator.driving = session.policy.silent = False
    session.do('HOLD')
    session.do('HOLD')
    session.ticks(3)
    operator = session.operator
    ticks = [tick for tick, _ in operator.executed]
    assert ticks == sorted(set(ticks)), 'two commands in one tick'
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks))), 'a tick without a command'
    modes = {mode.epoch: mode for mode in operator.modes}
    assert sorted(modes) == list(range(len(modes))), 'a transition that nobody heard of'
    begins = [modes[epoch].header.stamp.sec * 25 + modes[epoch].header.stamp.nanosec // 40_000_000
              for epoch in sorted(modes)]
    for tick, source in operator.executed:
        current = max((epoch for epoch in modes if begins[epoch] <= tick), default=0)
        name = SOURCES[source]
        assert name in ('HOLD', MODES.get(modes[current].mode)), (tick, name, modes[current])
    starts = [one.id for one in operator.interventions if one.event == Intervention.STARTED]
    ends = [one.id for one in operator.interventions if one.event == Intervention.ENDED]
    assert starts and starts == ends, 'a start without an end'
    assert {'POLICY', 'HUMAN', 'HOLD'} <= {SOURCES[source] for _, source in operator.executed}


def test_a_detector_ends_the_running_episode_by_service(inside):
    assert not call(inside.success, Trigger.Request()).success  # nothing runs
    inside.do('start')
    inside.phase(EpisodeState.RUNNING)
    assert call(inside.success, Trigger.Request()).success
    inside.phase(EpisodeState.IDLE)
    state = inside.operator.states[-1]
    assert (state.outcome.value, state.labelled_by) == (Outcome.SUCCESS, 'success service')


def test_a_takeover_ends_also_if_the_arbiter_is_killed_amid_it(tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.setenv('ROS_DOMAIN_ID', '58')
    robot_file, tasks_file = files(tmp_path)
    process = subprocess.Popen([
        sys.executable, '-m', 'lwd_intervention.arbiter_node', *REMAP, '-p',
        f'robot_file:={robot_file}', '-p', 'use_sim_time:=true'])
    try:
        with world(58) as spin:
            session = Session(spin, None, robot_file, tasks_file)
            session.operator.driving = True
            session.do('start')
            wait_for(lambda: session.operator.modes[-1].mode == ControlMode.POLICY, what='POLICY')
            session.ticks(3)
            session.do('HUMAN')
            session.ticks(5)
            process.send_signal(signal.SIGKILL)
            process.wait(30.0)
            call(session.stop, StopEpisode.Request(reason='the arm stands still'))
            wait_for(lambda: len(session.operator.interventions) == 2, what='the end')
            start, end = session.operator.interventions
            assert (start.event, end.event) == (Intervention.STARTED, Intervention.ENDED)
            assert (end.id, end.end_reason, end.source) == (start.id, 'arbiter lost', 'pad')
            assert end.end_tick >= start.start_tick and end.episode_id == start.episode_id
    finally:
        process.kill()

# SPDX-License-Identifier: Apache-2.0
"""The node over DDS, with a robot, an arbiter and an episode machine played by the test."""

from dataclasses import replace
from importlib.util import find_spec
import os
import signal
import time

from fakes import HORIZON
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image, JointState  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
import yaml  # noqa: E402

from lwd_core import topics  # noqa: E402
from lwd_core.checkpoint import CheckpointRef, set_channel  # noqa: E402
from lwd_core.images import encode_jpeg  # noqa: E402
from lwd_core.ros_qos import publisher, subscription  # noqa: E402
from lwd_core.ros_tick import to_ns, to_stamp  # noqa: E402
from lwd_core.store import FolderStore  # noqa: E402
from lwd_core.topics import CommandTag  # noqa: E402
from lwd_msgs.msg import (  # noqa: E402
    CheckpointAnnouncement,
    ControlMode,
    EpisodeState,
    PolicyStatus,
    StateObservation,
)
from lwd_msgs.srv import LoadCheckpoint  # noqa: E402
from lwd_policy_node.policy_node import PolicyNode  # noqa: E402
from lwd_policy_node.spin_node import autostart, make_executor  # noqa: E402

PERIOD = 40_000_000
PATIENCE_S = 60.0


class World:
    """The robot's other nodes, and the executor that all share."""

    def __init__(self, tmp_path, robot, **overrides):
        self.context = Context()
        rclpy.init(context=self.context, domain_id=int(os.environ.get('ROS_DOMAIN_ID', 31)))
        self.executor = make_executor(context=self.context)
        (tmp_path / 'robot.yaml').write_text(yaml.safe_dump(robot.to_dict()))
        values = dict(robot_file=str(tmp_path / 'robot.yaml'), store=str(tmp_path / 'store'),
                      poll_period=0.0, use_sim_time=True, loader='fakes:load', inference='inline',
                      join_wait=0.5, lookahead=0)
        values.update(overrides)
        self.robot, self.tick, self.epoch = robot, 100, 0
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


@pytest.fixture
def world(tmp_path, robot, monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    made = []

    def make(**overrides):
        made.append(World(tmp_path, robot, **overrides))
        return made[-1]
    yield make
    for item in made:
        item.close()


def connected(world, digest='ok1'):
    """Load a policy and wait until the sensors are connected."""
    world.give(digest)
    world.wait_state(PolicyStatus.READY, checkpoint=digest)
    world.spin_until(lambda: world.clock.get_subscription_count()
                     and world.joints.get_subscription_count()
                     and world.state.get_subscription_count()
                     and world.mode.get_subscription_count(), 'discovery')


def test_every_tick_is_answered_in_lockstep_by_the_rows_of_its_chunks(world):
    w = world()
    assert w.spin_until(lambda: w.status is not None, 'status') is None
    connected(w)
    w.run_policy()
    commands = w.lockstep(20)
    tags = [CommandTag.decode(c.header.frame_id) for c in commands]
    assert [(t.chunk, t.index) for t in tags] == [(1 + i // 8, i % 8) for i in range(20)]
    assert all(t.epoch == w.epoch for t in tags)
    assert commands[3].joint_names == list(w.robot.joint_names)
    assert commands[3].points[0].positions[0] == pytest.approx(0.1 + 3 / 100 + 1 / 1000)
    w.spin_until(lambda: len(w.chunks) == 3, 'chunks')
    assert w.node.loop.starved_ticks == 0


def test_a_chunk_message_holds_what_is_needed_to_compute_it_again(world):
    w = world()
    connected(w)
    w.run_policy()
    w.lockstep(2)
    w.spin_until(lambda: w.chunks, 'chunk')
    chunk = w.chunks[0]
    assert (chunk.horizon, chunk.action_dim, chunk.checkpoint) == (HORIZON, 3, 'ok1')
    stamps = dict(zip(chunk.observation_sources, map(to_ns, chunk.observation_stamps)))
    tick = to_ns(chunk.header.stamp)
    assert stamps == {'joint_states': tick, 'state_observation': tick}
    actions = np.array(chunk.actions, np.float32).reshape(HORIZON, 3)
    assert actions[0, -1] == np.float32(chunk.seed % 97 / 97)


def test_a_tick_waits_for_samples_that_come_after_the_clock(world):
    w = world()
    connected(w)
    w.run_policy()
    w.lockstep(1, late_state=True)
    w.spin_until(lambda: w.chunks, 'chunk')
    assert {to_ns(s) for s in w.chunks[0].observation_stamps} == {w.tick * PERIOD}


def test_outside_policy_mode_nothing_is_published(world):
    w = world()
    connected(w)
    w.set_episode(EpisodeState.RUNNING)
    w.set_mode(ControlMode.HUMAN)
    for _ in range(3):
        w.step()
        w.spin_for(0.05)
    assert w.commands == [] and w.chunks == []


def test_after_a_takeover_nothing_of_the_old_chunk_is_executed(world):
    w = world()
    connected(w)
    w.run_policy()
    w.lockstep(3)
    w.set_mode(ControlMode.HUMAN)
    w.spin_until(lambda: not w.node.loop.situation.policy_drives, 'mode')
    w.step()
    w.spin_for(0.05)
    assert len(w.commands) == 3
    w.tick += 1
    w.set_mode(ControlMode.POLICY)
    w.spin_until(lambda: w.node.loop.situation.policy_drives, 'mode')
    tag = CommandTag.decode(w.lockstep(1)[0].header.frame_id)
    assert (tag.epoch, tag.index) == (w.epoch, 0)


def test_a_new_checkpoint_waits_for_the_end_of_the_episode_and_can_be_rolled_back(world):
    w = world()
    connected(w)
    w.run_policy()
    w.lockstep(2)
    w.give('ok2', 2)
    w.wait_state(PolicyStatus.ACTING, checkpoint='ok1', pending_checkpoint='ok2')
    w.lockstep(2)
    w.set_mode(ControlMode.HOLD)
    w.set_episode(EpisodeState.IDLE)
    w.wait_state(PolicyStatus.READY, checkpoint='ok2', loads=2)
    w.run_policy()
    assert w.lockstep(1)[0].points[0].positions[0] == pytest.approx(0.1 + 2 / 1000)
    w.set_mode(ControlMode.HOLD)
    w.set_episode(EpisodeState.IDLE)
    future = w.load.call_async(LoadCheckpoint.Request(digest=''))
    w.spin_until(future.done, 'rollback')
    assert future.result().accepted
    w.wait_state(PolicyStatus.READY, checkpoint='ok1', loads=3)


def acting_with_two(world, **overrides):
    w = world(**overrides)
    connected(w)
    w.give('ok2', 2)
    w.wait_state(PolicyStatus.READY, checkpoint='ok2')
    w.run_policy()
    w.lockstep(2)
    return w


def test_a_rollback_acts_with_the_next_chunk_amid_the_episode(world):
    w = acting_with_two(world)
    client = w.peer.create_client(Trigger, 'policy/rollback')
    w.spin_until(client.service_is_ready, 'service')
    future = client.call_async(Trigger.Request())
    w.spin_until(future.done, 'rollback')
    assert future.result().success and 'ok1' in future.result().message
    w.wait_state(PolicyStatus.ACTING, checkpoint='ok1')
    commands = w.lockstep(10)
    rows = {CommandTag.decode(c.header.frame_id): c.points[0].positions[0] for c in commands}
    offsets = {tag.chunk: round(value - 0.1 - tag.index / 100, 4) for tag, value in rows.items()}
    assert sorted(offsets.items()) == [(1, 0.002), (2, 0.001)]
    assert w.node.loop.starved_ticks == 0
    w.give('ok2', 2)  # the channel says it again
    w.spin_for(0.2)
    assert w.status.checkpoint == 'ok1' and w.status.pending_checkpoint == ''


def test_a_rollback_without_a_previous_checkpoint_is_refused(world):
    w = world()
    connected(w)
    client = w.peer.create_client(Trigger, 'policy/rollback')
    w.spin_until(client.service_is_ready, 'service')
    future = client.call_async(Trigger.Request())
    w.spin_until(future.done, 'rollback')
    assert not future.result().success and 'no previous' in future.result().message


def test_with_swap_chunk_a_new_checkpoint_acts_with_the_next_chunk(world):
    w = world(swap='chunk')
    connected(w)
    w.run_policy()
    w.lockstep(2)
    w.give('ok2', 2)
    w.wait_state(PolicyStatus.ACTING, checkpoint='ok2')
    commands = w.lockstep(8)
    tags = [CommandTag.decode(c.header.frame_id) for c in commands]
    assert [tag.chunk for tag in tags] == [1] * 6 + [2] * 2
    assert commands[-1].points[0].positions[0] == pytest.approx(0.1 + 0.01 + 0.002)
    assert w.node.loop.starved_ticks == 0


def test_with_swap_chunk_one_that_observes_otherwise_waits_for_the_end(world):
    w = world(swap='chunk')
    connected(w)
    w.run_policy()
    w.lockstep(1)
    w.give('pixels2', 2)
    w.wait_state(PolicyStatus.ACTING, checkpoint='ok1', pending_checkpoint='pixels2')
    w.lockstep(9)
    assert w.status.checkpoint == 'ok1'


def test_a_bad_checkpoint_is_refused_by_name_and_the_old_one_goes_on(world):
    w = world()
    connected(w)
    w.run_policy()
    w.lockstep(1)
    w.give('bad3', 3)
    w.wait_state(PolicyStatus.ACTING, checkpoint='ok1', rejected_checkpoint='bad3')
    assert 'damaged' in w.status.rejected_reason
    w.lockstep(3)
    w.spin_until(lambda: w.diagnostics is not None and w.diagnostics.status[0].level
                 == DiagnosticStatus.WARN, 'diagnostics')
    assert 'bad3' in w.diagnostics.status[0].message


def test_a_worker_that_crashes_is_a_fault_and_comes_back(world):
    w = world(inference='process')
    connected(w)
    w.run_policy()
    w.lockstep(2)
    os.kill(w.node.inference.pid, signal.SIGKILL)
    w.wait_state(PolicyStatus.FAULT)
    assert 'signal 9' in w.status.reason
    w.wait_state(PolicyStatus.ACTING, checkpoint='ok1')
    w.lockstep(10)


def test_a_worker_that_stalls_is_ended_and_replaced(world):
    w = world(inference='process', stall_timeout=0.3)
    connected(w)
    w.run_policy('stall')
    w.step()
    w.wait_state(PolicyStatus.FAULT)
    w.set_mode(ControlMode.HOLD)
    w.wait_state(PolicyStatus.READY)
    assert w.node.supervisor.restarts == 1


def test_a_model_that_raises_costs_the_tick_and_not_the_node(world):
    w = world()
    connected(w)
    w.run_policy('raise')
    w.step()
    w.spin_until(lambda: 'does not like' in w.node.loop._now.reason, 'error of the model')
    w.set_episode(EpisodeState.RUNNING, 'put it there')
    w.spin_until(lambda: w.node.loop.situation.instruction == 'put it there', 'episode')
    w.lockstep(2)
    assert w.node.loop.starved_ticks == 1


def test_a_clock_that_jumps_back_resets_and_goes_on(world):
    w = world()
    connected(w)
    w.run_policy()
    w.lockstep(3)
    w.set_mode(ControlMode.HOLD)
    w.tick = 10
    w.step()
    w.run_policy()
    tag = CommandTag.decode(w.lockstep(1)[0].header.frame_id)
    assert tag.index == 0


def test_on_wall_time_every_period_gets_a_command_though_inference_takes_longer(world):
    w = world(use_sim_time=False, lookahead=5, overrun='auto', execute_steps=8)
    w.give('ok1')
    w.wait_state(PolicyStatus.READY)
    w.spin_until(lambda: w.joints.get_subscription_count() and w.state.get_subscription_count(),
                 'discovery')
    w.set_episode(EpisodeState.RUNNING, 'slow')  # 0.1 s a chunk, 2.5 periods
    w.tick = time.time_ns() // PERIOD
    w.set_mode(ControlMode.POLICY)
    loop = w.node.loop
    for _ in range(3):  # a machine that is busy elsewhere may starve any of them, not all
        first, ticks_before, starved_before = len(w.commands), loop.ticks, loop.starved_ticks
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            w.sensors(to_stamp(time.time_ns()))
            w.spin_for(0.01)
        answered = len(w.commands) - first
        starved, seen = loop.starved_ticks - starved_before, loop.ticks - ticks_before
        if answered > 40 and starved <= 5:
            break
    assert answered > 40 and starved <= 5 and answered >= seen - starved - 1
    ticks = [to_ns(c.header.stamp) // PERIOD for c in w.commands]
    tags = [CommandTag.decode(c.header.frame_id) for c in w.commands]
    assert len(set(ticks)) == len(ticks)
    starts = {tag.chunk: tick - tag.index for tick, tag in zip(ticks, tags)}
    assert all(starts[tag.chunk] == tick - tag.index for tick, tag in zip(ticks, tags))
    assert len(starts) > 3 and all(tag.index >= 2 for tag in tags)


def publish_image(w, spec, stamp, raw):
    pixels = np.full((6, 8, 3), 90, np.uint8)
    if raw:
        message = Image(height=6, width=8, encoding='rgb8', step=24)
        message.data = pixels.tobytes()
    else:
        message = CompressedImage(format='jpeg', data=encode_jpeg(pixels))
    message.header.stamp = stamp
    spec.publish(message)


@pytest.mark.parametrize('raw', [False, True])
def test_a_pixels_policy_sees_the_cameras_compressed_or_raw(world, raw):
    w = world()
    spec = topics.camera_raw('head') if raw else topics.camera('head')
    camera = publisher(w.peer, spec)
    w.give('pixels1')
    w.wait_state(PolicyStatus.READY, checkpoint='pixels1')
    w.spin_until(lambda: camera.get_subscription_count() and w.clock.get_subscription_count()
                 and w.joints.get_subscription_count(), 'discovery')
    w.run_policy()
    w.tick += 1
    stamp = to_stamp(w.tick * PERIOD)
    w.sensors(stamp)
    publish_image(w, camera, stamp, raw)
    w.clock.publish(Clock(clock=stamp))
    w.spin_until(lambda: w.commands and w.chunks, 'command')
    assert w.chunks[0].observation_sources == ['joint_states', 'camera/head']
    assert {to_ns(s) for s in w.chunks[0].observation_stamps} == {w.tick * PERIOD}


@pytest.mark.parametrize('sync', ['asof', 'approximate'])
def test_both_ways_of_joining_give_the_same_observation(world, sync):
    if sync == 'approximate':
        pytest.importorskip('message_filters')
    w = world(sync=sync)
    connected(w)
    w.run_policy()
    w.lockstep(1)
    w.spin_until(lambda: w.chunks, 'chunk')
    assert dict(zip(w.chunks[0].observation_sources, map(to_ns, w.chunks[0].observation_stamps))
                ) == {'joint_states': w.tick * PERIOD, 'state_observation': w.tick * PERIOD}


def test_without_message_filters_the_approximate_join_is_refused_with_the_next_step(
        world, capfd):
    if find_spec('message_filters') is not None:
        pytest.skip('message_filters is installed')
    assert not world(sync='approximate').started
    assert 'source one, or use asof' in capfd.readouterr().err


def test_a_channel_of_the_store_is_followed_without_announcements(world, tmp_path):
    set_channel(FolderStore(tmp_path / 'store'), 'stable', CheckpointRef('ok1', 1, 'checkpoints/1'))
    w = world(poll_period=0.05)
    w.wait_state(PolicyStatus.READY, checkpoint='ok1')
    set_channel(FolderStore(tmp_path / 'store'), 'stable', CheckpointRef('ok2', 2, 'checkpoints/2'))
    w.wait_state(PolicyStatus.READY, checkpoint='ok2', checkpoint_step=2)


def test_a_store_that_goes_away_is_one_warning_and_the_policy_goes_on(world, tmp_path, capfd):
    set_channel(FolderStore(tmp_path / 'store'), 'stable', CheckpointRef('ok1', 1, 'checkpoints/1'))
    w = world(poll_period=0.05)
    connected(w)
    (tmp_path / 'store' / 'channels' / 'stable.json').write_text('{"cut')
    w.run_policy()
    w.lockstep(5)
    w.spin_until(lambda: 'not JSON' in capfd.readouterr().err, 'warning')
    w.lockstep(5)
    assert 'not JSON' not in capfd.readouterr().err


def test_deactivating_stops_the_commands(world):
    w = world()
    connected(w)
    w.run_policy()
    w.lockstep(2)
    w.node.trigger_deactivate()
    w.step()
    w.spin_for(0.1)
    assert len(w.commands) == 2
    assert w.node.loop.situation.gate_open is False


def test_a_wrong_robot_file_fails_configure_with_the_reason(world, tmp_path, capfd):
    w = world()
    (tmp_path / 'robot.yaml').write_text('name: r\nmodel: m\ncontrol_rate: -5\njoints: []\n')
    w.node.trigger_deactivate()
    w.node.trigger_cleanup()
    w.node.trigger_configure()
    err = capfd.readouterr().err
    assert 'robot.yaml' in err and 'joints' in err

# SPDX-License-Identifier: Apache-2.0
"""The node over DDS: ticks, modes, commands, chunks; the robot is played by the test."""

import time

from fakes import HORIZON
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from node_world import connected, PERIOD  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from lwd_core.ros_tick import to_ns, to_stamp  # noqa: E402
from lwd_core.topics import CommandTag  # noqa: E402
from lwd_msgs.msg import ControlMode, EpisodeState, ExecutedAction, PolicyStatus  # noqa: E402


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


def test_the_cadence_is_reported_when_an_episode_ends_and_on_shutdown(world, capfd):
    w = world()
    connected(w)
    w.run_policy()
    w.lockstep(20)
    executed = ExecutedAction(source=ExecutedAction.SOURCE_POLICY,
                              clamped=ExecutedAction.CLAMP_VELOCITY)
    w.executed.publish(executed)
    w.spin_until(lambda: w.node.loop.cadence.clamped, 'clamp')
    w.set_mode(ControlMode.HOLD)
    # The state is latched, the newest one only: that between two episodes may never be seen.
    w.set_episode(EpisodeState.READY, episode_id='episode_2')
    w.spin_until(lambda: w.reports, 'report')
    report = w.reports[0]
    assert (report.episode_id, report.ticks, report.starved_ticks) == ('episode_1', 20, 0)
    assert report.rate == pytest.approx(25.0) and report.seconds == pytest.approx(19 / 25)
    assert (report.chunks, report.clamped_ticks, report.late_ticks) == (3, 1, 0)
    assert {'assemble', 'sample', 'publish', 'lateness'} <= set(report.sections)
    assert all(p50 <= p99 <= top for p50, p99, top in zip(report.p50, report.p99, report.max))
    w.node.close()
    said = capfd.readouterr().err
    assert 'cadence of episode_1: 20 ticks at 25.0 Hz' in said
    assert 'cadence of the whole run: 20 ticks' in said


def test_a_policy_that_starves_says_why_and_that_it_goes_on(world):
    w = world()
    connected(w)
    w.run_policy()
    w.lockstep(1)
    w.tick += 40  # no samples for so long, then a tick
    w.clock.publish(Clock(clock=to_stamp(w.tick * PERIOD)))
    w.spin_for(0.7)
    w.tick += 1
    w.clock.publish(Clock(clock=to_stamp(w.tick * PERIOD)))
    w.spin_until(lambda: 'starved: joint_states: newest sample is' in w.status.reason, 'reason')
    assert w.status.state == PolicyStatus.ACTING
    w.lockstep(2)
    w.spin_until(lambda: w.status.reason == '', 'recovery')


def test_shadow_chunks_are_published_while_a_person_drives_and_nothing_is_commanded(world):
    w = world(shadow=True)
    connected(w)
    w.set_episode(EpisodeState.RUNNING)
    w.spin_until(lambda: w.node.loop.situation.instruction, 'episode')
    w.set_mode(ControlMode.HUMAN)
    w.spin_until(lambda: w.node.loop.situation.human_drives, 'mode')
    for _ in range(12):
        w.step()
        w.spin_for(0.05)
    w.spin_until(lambda: len(w.chunks) == 2, 'shadow chunks')
    assert all(chunk.shadow and chunk.epoch == w.epoch for chunk in w.chunks)
    assert w.commands == []


def test_with_real_time_chunking_a_chunk_says_what_it_continues(world):
    w = world(scheduler='rtc', execute_steps=6, lookahead=2)
    connected(w)
    w.run_policy()
    w.lockstep(20)
    w.spin_until(lambda: len(w.chunks) == 4, 'chunks')
    notes = [chunk.header.frame_id for chunk in w.chunks]
    assert notes[0] == '' and notes[1].startswith('continues=1 rows=10 delay=2 ')
    tags = [CommandTag.decode(c.header.frame_id) for c in w.commands]
    assert [t.chunk for t in tags] == [1] * 8 + [2] * 6 + [3] * 6

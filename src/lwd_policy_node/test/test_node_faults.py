# SPDX-License-Identifier: Apache-2.0
"""The node over DDS: what breaks, and how it goes on."""

import os
import signal

import pytest

rclpy = pytest.importorskip('rclpy')

from node_world import connected  # noqa: E402

from lwd_core.topics import CommandTag  # noqa: E402
from lwd_msgs.msg import ControlMode, EpisodeState, PolicyStatus  # noqa: E402


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

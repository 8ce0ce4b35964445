# SPDX-License-Identifier: Apache-2.0
"""The simulated robot as its driver sees it: order of joints, resets, noise, pace."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lwd_core.robot import RobotSpec, SpecError
from lwd_sim.lockstep import Pace
from lwd_sim.names import HOME, JOINT_NAMES
from lwd_sim.schedule import Schedule
from lwd_sim.simulation import Imperfections, SETTLE_STEPS, SimulatedRobot

ROBOT = RobotSpec.from_yaml(Path(__file__).parents[3] / 'config' / 'robots' / 'sim.yaml')


def settled(robot=ROBOT, **imperfections):
    simulated = SimulatedRobot(robot, 'place', 5, Imperfections(**imperfections))
    for _ in range(SETTLE_STEPS):
        simulated.step(None)
    return simulated


def test_a_robot_file_with_another_joint_order_moves_the_same_joints():
    turned = replace(ROBOT, joints=ROBOT.joints[::-1], home=ROBOT.home[::-1])
    straight, reverse = settled(), settled(turned)
    target = HOME.copy()
    target[0] = 0.5
    for _ in range(20):
        straight.step(target)
        reverse.step(target[::-1])
    np.testing.assert_allclose(straight.world.joints(), reverse.world.joints())
    np.testing.assert_allclose(straight.joints()[0], reverse.joints()[0][::-1])
    assert straight.joints()[0][JOINT_NAMES.index('left/waist')] == pytest.approx(0.5, abs=0.02)


def test_commands_meant_for_the_scene_before_a_reset_are_not_obeyed():
    robot = settled()
    robot.reset('place', 6)
    start = robot.world.joints()
    for _ in range(SETTLE_STEPS):
        robot.step(np.full(14, 1.0))
    assert np.abs(robot.world.joints() - start)[:6].max() < 0.01
    for _ in range(3):
        robot.step(np.full(14, 1.0))
    assert np.abs(robot.world.joints() - start)[:6].max() > 0.05


def test_a_step_without_command_keeps_the_last_target_and_is_counted():
    robot = settled()
    before = robot.starved_steps
    robot.step(HOME)
    robot.step(None)
    assert robot.starved_steps == before + 1
    robot.reset('crate', 1)
    assert robot.starved_steps == 0 and robot.world.task.name == 'crate'


def test_noise_is_off_by_default_and_repeatable_when_on():
    exact = settled()
    np.testing.assert_array_equal(exact.joints()[0], exact.world.joints())
    first, second = settled(joint_noise=0.01), settled(joint_noise=0.01)
    np.testing.assert_array_equal(first.joints()[0], second.joints()[0])
    error = first.joints()[0] - first.world.joints()
    assert 0.002 < np.abs(error[:6]).mean() < 0.03 and error[6] == 0.0
    assert np.abs(settled(state_noise=0.01).state() - settled().state()).max() > 0.005


def test_actuation_noise_moves_the_arm_but_is_in_no_command():
    noisy, exact = settled(actuation_noise=0.02), settled()
    for _ in range(10):
        noisy.step(HOME)
        exact.step(HOME)
    assert np.abs(noisy.world.joints() - exact.world.joints())[:6].max() > 0.002


def test_a_robot_file_that_is_not_this_robot_is_refused():
    with pytest.raises(SpecError, match='left/jaw'):
        SimulatedRobot(replace(ROBOT, joints=ROBOT.joints[:6]))
    with pytest.raises(ValueError, match='control_rate is 50 Hz, the simulation runs at 25 Hz'):
        SimulatedRobot(replace(ROBOT, control_rate=50.0))


def test_the_pace_caps_speed_and_does_not_catch_up():
    pace = Pace(2.0, 0.04)     # twice real time: 20 ms a step
    assert [pace.wait(0.0), pace.wait(0.005)] == [0.0, pytest.approx(0.015)]
    assert pace.wait(1.0) == 0.0, 'late: at once'
    assert pace.wait(1.0) == pytest.approx(0.0)
    assert pace.wait(1.0) == pytest.approx(0.02), 'but no burst'
    free = Pace(0.0, 0.04)
    assert [free.wait(0.0), free.wait(0.0)] == [0.0, 0.0]


def test_the_schedule_gives_every_task_each_seed_and_repeats_what_did_not_run():
    schedule = Schedule(('place', 'crate'), 10, 3)
    assert schedule.next() == schedule.next() == ('place', 10)
    schedule.finish()
    assert schedule.next() == ('crate', 10)
    schedule.finish()
    assert schedule.next() == ('place', 11) and not schedule.done
    schedule.finish()
    assert schedule.done
    assert not Schedule(('place',), 0, 0).done

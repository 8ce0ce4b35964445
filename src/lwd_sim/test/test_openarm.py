# SPDX-License-Identifier: Apache-2.0
"""OpenArm, the second embodiment: the same nodes, another robot file."""
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lwd_core.robot import RobotSpec, SpecError
from lwd_core.task import load_tasks
from lwd_sim.operating import ScriptedOperator
from lwd_sim.robots import make_operator, make_robot
from lwd_sim.simulation import Imperfections, SETTLE_STEPS, SimulatedRobot
from lwd_sim.supervisor import SupervisorConfig

CONFIG = Path(__file__).parents[3] / 'config'
ROBOT_FILE = CONFIG / 'robots' / 'openarm.yaml'
needs_openarm = pytest.mark.skipif(
    find_spec('openarm_mujoco') is None,
    reason='openarm-mujoco is optional: make setup EXTRAS=1')


@pytest.fixture(scope='module')
def spec():
    return RobotSpec.from_yaml(ROBOT_FILE)


@pytest.fixture(scope='module')
def arm(spec):
    return make_robot(spec, 'reach', 0, Imperfections())


def view_of(robot):
    world = robot.world
    return SimpleNamespace(task='reach', seed=world.seed, step=world.steps, success=world.success(),
                           **dict(zip(('qpos', 'qvel', 'ctrl'), world.state())))


def test_the_robot_file_decides_which_simulation_moves():
    cell = RobotSpec.from_yaml(CONFIG / 'robots' / 'sim.yaml')
    assert isinstance(make_robot(cell, 'place', 0, Imperfections()), SimulatedRobot)
    assert isinstance(make_operator(cell, True, 0.0, SupervisorConfig()), ScriptedOperator)


def test_a_package_that_nobody_knows_is_refused_by_name(spec):
    other = RobotSpec.from_dict({**spec.to_dict(), 'mjcf': 'package://spot/spot.xml'})
    with pytest.raises(SpecError, match='package://spot/spot.xml.*openarm_mujoco'):
        make_robot(other, 'reach', 0, Imperfections())


@needs_openarm
def test_the_robot_file_stays_within_the_models_limits(spec, arm):
    limits = arm.world.limits
    joints = [joint for joint in spec.joints if not joint.name.endswith('gripper')]
    assert len(spec.joints) == 16 and len(joints) == 14
    for joint, (low, high) in zip(joints, limits):
        assert low - 1e-3 <= joint.lower < joint.upper <= high + 1e-3, joint.name


@needs_openarm
def test_joints_follow_their_targets_in_the_order_of_the_file(spec, arm):
    arm.reset('reach', 3)
    order = list(reversed(range(16)))
    backwards = RobotSpec.from_dict({**spec.to_dict(), 'joints': [
        spec.to_dict()['joints'][i] for i in order], 'home': None})
    other = make_robot(backwards, 'reach', 3, Imperfections())
    target = arm.joints()[0]
    target[[1, 3, 7, 12]] += [-0.2, 0.3, -0.6, 0.25]
    for _ in range(SETTLE_STEPS + 30):
        arm.step(target)
        other.step(target[order])
    positions = arm.joints()[0]
    assert positions == pytest.approx(target, abs=0.03)
    assert other.joints()[0][order] == pytest.approx(positions, abs=1e-9)


@needs_openarm
def test_the_same_seed_gives_the_same_scene_and_marks_that_can_be_reached(arm):
    arm.reset('reach', 5)
    first = arm.state()
    arm.reset('reach', 6)
    assert not np.allclose(arm.state(), first)
    arm.reset('reach', 5)
    assert np.array_equal(arm.state(), first)
    with pytest.raises(ValueError, match="'place' is unknown.*reach"):
        arm.reset('place', 0)


@needs_openarm
def test_the_operator_reaches_both_marks_and_standing_still_does_not(spec, arm):
    operator = make_operator(spec, False, 0.01, SupervisorConfig())
    for seed in range(6):
        arm.reset('reach', seed)
        operator.begin('reach', seed, 200)
        ticks = next(tick for tick in range(120)
                     if arm.step(operator.see(view_of(arm), tick).action))
        assert ticks < 60
    arm.reset('reach', 0)
    still = arm.joints()[0]
    assert not any(arm.step(still) for _ in range(60))


@needs_openarm
def test_a_watching_operator_takes_over_from_one_who_stands_still_and_hands_back(spec, arm):
    operator = make_operator(spec, True, 0.0, SupervisorConfig(patience=10, min_correction=5))
    arm.reset('reach', 1)
    operator.begin('reach', 1, 200)
    still, said = arm.joints()[0], []
    for tick in range(100):
        intent = operator.see(view_of(arm), tick)
        said += [text for text in (intent.take_over, intent.hand_back) if text]
        if arm.step(intent.action if operator.driving else still):
            break
    assert said[0] == 'the hands come no nearer' and 'nearly there' in said[1]


@needs_openarm
def test_every_task_of_the_file_is_known_to_the_simulation(arm):
    for task in load_tasks(CONFIG / 'tasks' / 'openarm.yaml'):
        arm.reset(task, 0)


# SPDX-License-Identifier: Apache-2.0
"""Success is sparse and not fooled; starts are bitwise repeatable; the expert can do every task."""
from pathlib import Path

import numpy as np
import pytest

from lwd_core.robot import RobotSpec
from lwd_core.task import load_tasks
from lwd_sim.expert import Expert
from lwd_sim.features import STATE_NAMES, state_vector
from lwd_sim.instructions import INSTRUCTIONS
from lwd_sim.names import HOME, JOINT_NAMES
from lwd_sim.tasks import SLOTS, TASKS
from lwd_sim.world import World

CONFIG = Path(__file__).parents[3] / 'config'
TASK_NAMES = sorted(TASKS)


def run_expert(world, steps=None):
    expert = Expert(world.task)
    for _ in range(steps or world.task.time_limit):
        if world.step(expert.act(world)):
            return True
    return False


def move_item(world, position, quaternion=(1.0, 0.0, 0.0, 0.0)):
    qpos, qvel, ctrl = world.state()
    qpos[-7:] = (*position, *quaternion)
    world.set_state(qpos, np.zeros_like(qvel), ctrl)


@pytest.mark.parametrize('task', TASK_NAMES)
@pytest.mark.parametrize('seed', [10_003, 1_000_002, 100_005])
def test_the_expert_succeeds_in_half_the_time_limit(task, seed):
    world = World(task)
    world.reset(seed)
    assert run_expert(world)
    assert world.steps < world.task.time_limit / 2


@pytest.mark.parametrize('task', TASK_NAMES)
def test_equal_seeds_give_bitwise_equal_episodes(task):
    def episode():
        world = World(task)
        world.reset(77)
        run_expert(world, 40)
        return np.concatenate(world.state()), state_vector(world)
    first, second = episode(), episode()
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1].tobytes() == second[1].tobytes()


def test_other_seeds_give_other_starts():
    worlds = [World('place'), World('place')]
    for seed, world in enumerate(worlds):
        world.reset(seed)
    assert not np.allclose(worlds[0].state()[0], worlds[1].state()[0])


def test_the_expert_remembers_nothing():
    driven, fresh = World('handover'), World('handover')
    expert = Expert('handover')
    for step in range(70):
        action = expert.act(driven)
        if step % 23 == 22:
            fresh.set_state(*driven.state())
            np.testing.assert_allclose(Expert('handover').act(fresh), action, atol=1e-6)
        driven.step(action)


@pytest.mark.parametrize('task', TASK_NAMES)
def test_nothing_is_reached_at_the_start(task):
    world = World(task)
    world.reset(5)
    assert not world.success()


def test_an_item_held_over_its_slot_is_no_success():
    world = World('place')
    world.reset(3)
    expert = Expert('place')
    while not world.in_slot(world.focus()):
        world.step(expert.act(world))
    assert world.pads_touching('left', 'milk')
    assert not world.success()


@pytest.mark.parametrize(('offset', 'why'), [
    ((0.0, 0.0, 0.10), 'in the air over the slot'),
    ((0.0, -0.12, -0.06), 'on the table before the shelf'),
    ((0.35, 0.0, 0.0), 'on the shelf, on the wrong side')])
def test_a_wrong_place_is_no_success(offset, why):
    world = World('place')
    world.reset(3)
    slot = np.array(SLOTS['lower_left'].position)
    move_item(world, slot + [0.0, 0.0, 0.0455] + np.array(offset))
    for _ in range(3):
        assert not world.step(HOME) or why == 'in the air over the slot' and world.rests_on(
            'milk', 'shelf0')


def test_a_falling_item_counts_only_once_it_rests():
    world = World('place')
    world.reset(3)
    move_item(world, np.array(SLOTS['lower_left'].position) + [0.0, 0.0, 0.12])
    assert not world.success()
    results = [world.step(HOME) for _ in range(25)]
    assert not results[0] and results[-1]


@pytest.mark.parametrize('bad', [np.zeros(13), np.full(14, np.nan)])
def test_a_bad_action_is_refused(bad):
    with pytest.raises(ValueError, match='14 finite numbers'):
        World('place').step(bad)


def test_a_state_of_another_task_is_refused():
    world = World('place')
    qpos, qvel, ctrl = world.state()
    with pytest.raises(ValueError, match="qpos has .* task 'place'"):
        world.set_state(qpos[:-1], qvel, ctrl)


def test_an_unknown_task_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="'dance' is unknown; tasks are place"):
        World('dance')


def test_the_robot_and_task_files_agree_with_the_simulation():
    robot = RobotSpec.from_yaml(CONFIG / 'robots' / 'sim.yaml')
    assert robot.joint_names == JOINT_NAMES
    assert robot.state_names == STATE_NAMES
    assert np.allclose(robot.home, HOME)
    limits = World('place').joint_limits
    for joint, (lower, upper) in zip(robot.joints, limits):
        assert (joint.lower, joint.upper) == (pytest.approx(lower), pytest.approx(upper))
    tasks = load_tasks(CONFIG / 'tasks' / 'sim.yaml')
    assert set(TASK_NAMES) <= set(tasks)
    for name in TASK_NAMES:
        assert tasks[name].instruction == INSTRUCTIONS[name]
        assert tasks[name].time_limit * robot.control_rate == TASKS[name].time_limit


@pytest.mark.parametrize('task', ['place', 'handover'])
def test_the_expert_recovers_a_toppled_item(task):
    world = World(task)
    world.reset(3)
    half = world.item(world.task.goals[0].item).half_sizes[1]
    # Lying, its long axis pointing away from the robot.
    move_item(world, (-0.18, 0.30, half + 0.001), (np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0))
    assert world.tilt(world.task.goals[0].item) > 1.5
    assert run_expert(world)


@pytest.mark.parametrize('task', TASK_NAMES)
def test_a_fresh_expert_takes_over_anywhere_on_the_way(task):
    rng = np.random.default_rng(0)
    for start in (8, 25, 45):
        world = World(task)
        world.reset(100_000 + start)
        assert not run_expert(world, start)
        stray = np.concatenate([0.15 * rng.standard_normal(6), [0.0]] * 2)
        held = world.joints() + stray
        held[[6, 13]] = [world.jaw_command('left'), world.jaw_command('right')]
        for _ in range(6):
            world.step(held)
        assert run_expert(world), start

# SPDX-License-Identifier: Apache-2.0
"""The eight tasks: the expert does each, one state layout fits all, goals cannot be fooled."""
from pathlib import Path

import numpy as np
import pytest

from lwd_core.task import load_tasks
from lwd_sim.env import make_env
from lwd_sim.expert import Expert
from lwd_sim.features import STATE_NAMES, state_vector
from lwd_sim.instructions import instruction_of
from lwd_sim.names import CONTROL_RATE, HOME
from lwd_sim.progress import progress
from lwd_sim.suite import LONG, SHORT, SUITE
from lwd_sim.suite_instructions import phrases, tasks_yaml
from lwd_sim.tasks import all_tasks, get_task, TASKS
from lwd_sim.world import World

CONFIG = Path(__file__).parents[3] / 'config'


def run_expert(world, steps=None):
    expert = Expert(world.task)
    for _ in range(steps or world.task.time_limit):
        if world.step(expert.act(world)):
            return True
    return False


def move(world, item, position, angle=0.0):
    """Put an item elsewhere, upright."""
    qpos, qvel, ctrl = world.state()
    address = world._item_qpos[item]
    qpos[address:address + 7] = (*position, np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2))
    world.set_state(qpos, np.zeros_like(qvel), ctrl)


def settled(task, seed=30_001, steps=15):
    world = World(task)
    world.reset(seed)
    for _ in range(steps):
        world.step(HOME)
    return world


@pytest.mark.parametrize('task', list(SUITE))
def test_the_expert_does_every_task_in_half_its_time(task):
    world = World(task)
    world.reset(30_000)
    assert run_expert(world)
    assert world.steps < world.task.time_limit / 2


def test_there_are_four_short_and_four_long_tasks_of_five_to_eight_scored_steps():
    assert set(SUITE) == {*SHORT, *LONG} and len(SHORT) == len(LONG) == 4
    assert all(not SUITE[name].stages for name in SHORT)
    for name in LONG:
        assert 5 <= len(SUITE[name].stages) <= 8
        assert 60 <= SUITE[name].time_limit / CONTROL_RATE <= 180


def test_one_state_layout_and_one_action_fit_all_tasks():
    for task in SUITE:
        state = state_vector(settled(task, steps=3))
        assert state.shape == (len(STATE_NAMES),) and np.isfinite(state).all()


@pytest.mark.parametrize('task', ['door_place', 'pack_crate'])
def test_equal_seeds_give_bitwise_equal_episodes(task):
    def episode():
        world = World(task)
        world.reset(77)
        run_expert(world, 60)
        return np.concatenate(world.state())
    assert episode().tobytes() == episode().tobytes()


def test_starts_differ_by_seed_and_deal_the_items_anew():
    world, left_of = World('restock_item'), set()
    for seed in range(12):
        world.reset(seed)
        left_of.add(min(('tea', 'jam', 'coffee'), key=lambda item: world.item_pose(item)[0][0]))
    assert left_of == {'tea', 'jam', 'coffee'}


def test_the_task_file_holds_what_the_templates_give_and_learners_never_see_what_is_held_out():
    assert (CONFIG / 'tasks' / 'suite.yaml').read_text() == tasks_yaml()
    specs = load_tasks(CONFIG / 'tasks' / 'suite.yaml')
    assert set(specs) == set(SUITE)
    for name, spec in specs.items():
        assert spec.instruction == instruction_of(name)
        assert spec.stages == SUITE[name].stages
        assert spec.time_limit * CONTROL_RATE == SUITE[name].time_limit
        assert spec.held_out and not {*spec.held_out} & {*spec.training_instructions}
    everything = [text for name in SUITE for text in (phrases(name)[0], *phrases(name)[1])]
    assert len(everything) == len(set(everything))


def test_the_demonstrations_tasks_are_not_the_suites():
    assert set(TASKS) == {'place', 'crate', 'handover'}
    assert list(all_tasks()) == [*TASKS, *SUITE]
    with pytest.raises(ValueError, match="task 'fly' is unknown; tasks are place,.*serve"):
        get_task('fly')


def test_what_lies_still_falls_asleep_and_is_told_as_resting():
    world = settled('restock_shelf', steps=60)
    assert all(world.asleep(item.name) and world.supported(item.name)
               for item in world.task.items)
    world.set_state(*world.state())
    assert not any(world.asleep(item.name) for item in world.task.items)
    assert all(world.supported(item.name) for item in world.task.items)


def test_milk_in_the_cabinet_is_enough_however_it_came_there():
    world = settled('door_place')
    door, place = world.task.goals
    assert not world.reached(0) and world.focus() is door
    move(world, 'milk', (.06, .47, .106))
    for _ in range(5):
        world.step(HOME)
    # The door only serves: nobody has to open it any more.
    assert world.placed(place) and world.success()


def test_a_door_counts_as_open_only_when_it_was_let_go_of():
    world = World('door_place')
    world.reset(30_000)
    expert, held_open = Expert('door_place'), False
    for _ in range(150):
        world.step(expert.act(world))
        pulled = world.angle('door') > world.task.goals[0].opened
        if pulled and world.pads_touching('right', 'door'):
            held_open = True
            assert not world.reached(0)
        if world.reached(0):
            break
    assert held_open and world.reached(0)


def test_the_lid_is_put_aside_only_while_something_is_to_go_into_the_box():
    world = settled('fill_box')
    aside, *fruit, close = world.task.goals
    assert world.focus() is aside and not world.success()
    for goal in fruit:
        target = world.target(goal)
        move(world, goal.item, target + [0, 0, world.half_height(goal.item) + .001])
    assert world.placed(close) and world.success()      # the lid is on it
    move(world, 'lid', (.3, .45, .005))
    assert world.focus() is close and not world.success()
    move(world, 'lemon', (-.3, .3, .021))
    for _ in range(3):
        world.step(HOME)
    assert world.focus() is fruit[0]


def test_progress_grows_in_the_order_of_the_goals_though_the_box_begins_closed():
    world, expert, seen = settled('fill_box'), Expert('fill_box'), []
    assert progress(world).stage == 0
    while not world.success():
        world.step(expert.act(world))
        seen.append(progress(world).value)
    losses = np.maximum.accumulate(seen) - np.array(seen)
    assert losses.max() < 0.12 and seen[-1] == 1.0


def test_a_crate_in_the_air_is_set_down_before_what_fell_out_is_fetched():
    world = World('pack_crate')
    world.reset(30_000)
    expert = Expert('pack_crate')
    while not (world.item_pose('basket')[0][2] > .08 and world.steps > 100):
        assert not world.step(expert.act(world))
        assert world.steps < 1000
    assert world.focus().item == 'basket'
    move(world, 'tea', (-.35, .3, .031))
    assert not world.reached(0) and world.focus().item == 'basket'
    assert run_expert(world)
    assert world.reached(0)


def test_the_same_environment_plays_the_suite_from_state_and_from_cameras():
    environment = make_env('serve', observation='pixels')
    try:
        observation, info = environment.reset(seed=5)
        assert info['task'] == 'serve' and observation['head'].shape == (96, 96, 3)
        assert observation['head'].std() > 5.0
        environment.reset(seed=5, options={'task': 'door_place'})
        assert environment.instruction == instruction_of('door_place')
        _, reward, terminated, truncated, _ = environment.step(HOME.astype(np.float32))
        assert (reward, terminated, truncated) == (0.0, False, False)
    finally:
        environment.close()

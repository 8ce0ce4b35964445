# SPDX-License-Identifier: Apache-2.0
"""When the operator takes over and when he hands back."""
import numpy as np

from lwd_sim.episode import SOURCE_HUMAN, SOURCE_POLICY
from lwd_sim.expert import Expert
from lwd_sim.grasping import grasp_of
from lwd_sim.interventions import human_share, intervened_rollout
from lwd_sim.kinematics import reach
from lwd_sim.names import ARMS, HOME, jaw_index
from lwd_sim.progress import progress
from lwd_sim.supervisor import Supervisor, SupervisorConfig
from lwd_sim.world import World

NOT_JAWS = np.ones(14)
NOT_JAWS[[jaw_index(arm) for arm in ARMS]] = 0.0


def watched(task='place', seed=100_001, **config):
    world = World(task)
    world.reset(seed)
    return world, Supervisor(world.task.time_limit, world.task.usual_time,
                             SupervisorConfig(**config))


def drive(world, supervisor, act, steps):
    """Drive until the supervisor says something; return what."""
    for _ in range(steps):
        reason = supervisor.watch(world)
        if reason is not None:
            return reason
        if world.step(act(world)):
            return 'success'
    return None


def idle(world):
    return HOME


def test_an_expert_policy_is_left_alone_on_every_task():
    for task in ('place', 'crate', 'handover'):
        world, supervisor = watched(task)
        assert drive(world, supervisor, Expert(task).act, 200) == 'success', task
        assert supervisor.takeovers == 0


def test_standing_still_is_taken_over_after_the_patience():
    world, supervisor = watched(patience=20)
    assert drive(world, supervisor, idle, 60) == 'no progress at "reach"'
    assert 20 <= world.steps <= 30 and supervisor.human


def opens_in_the_air(task, arm):
    expert = Expert(task)

    def act(now):
        action = expert.act(now)
        action[jaw_index(arm)] = 1.0
        return action
    return act


def test_letting_go_in_the_air_is_taken_over_before_the_item_falls():
    world, supervisor = watched(hand_back=False)
    while world.supported('milk') or world.steps < 10:
        assert drive(world, supervisor, Expert('place').act, 1) is None
    before = world.steps
    assert drive(world, supervisor, opens_in_the_air('place', 'left'), 30) == \
        'left arm lets go in the air'
    assert world.steps - before <= 4
    caught = world.steps
    assert drive(world, supervisor, Expert('place').act, 200) == 'success'
    assert world.steps - caught < 50, 'it was never dropped'


def test_a_dropped_item_is_taken_over():
    world, supervisor = watched()
    drive(world, supervisor, Expert('place').act, 40)
    drop = opens_in_the_air('place', 'left')
    for _ in range(6):     # while nobody watches
        world.step(drop(world))
    assert 'lost what was reached' in drive(world, supervisor, drop, 30)


def test_a_jaw_closed_on_nothing_is_taken_over():
    world, supervisor = watched(patience=100)
    closed = HOME.copy()
    closed[jaw_index('left')] = 0.0
    assert drive(world, supervisor, lambda _: closed, 40) == 'left jaw closed on nothing'


def test_time_running_out_is_taken_over():
    world, supervisor = watched(patience=1000)
    reason = drive(world, supervisor, idle, 400)
    assert 'time is running out' in reason
    assert world.steps < world.task.time_limit - world.task.usual_time


def test_he_hands_back_once_the_next_stage_is_stable_and_not_before():
    world, supervisor = watched(min_correction=12, stable=4)
    drive(world, supervisor, idle, 60)
    since = world.steps
    assert drive(world, supervisor, Expert('place').act, 80) == 'corrected up to "carry"'
    assert world.steps - since >= 12 and not supervisor.human


def test_after_the_last_takeover_he_finishes_himself():
    world, supervisor = watched(max_takeovers=1)
    drive(world, supervisor, idle, 60)
    assert drive(world, supervisor, Expert('place').act, 200) == 'success'


def test_he_gives_up_where_he_gets_nowhere_himself():
    world, supervisor = watched(give_up=50)
    drive(world, supervisor, idle, 60)
    since = world.steps
    for _ in range(60):
        assert supervisor.gives_up == (world.steps - since >= 50)
        supervisor.watch(world)
        world.step(HOME)


def test_progress_grows_along_an_expert_episode_of_every_task():
    for task in ('place', 'crate', 'handover'):
        world = World(task)
        world.reset(9)
        expert, values = Expert(task), []
        while not world.success():
            values.append(progress(world).value)
            world.step(expert.act(world))
        assert progress(world).value == 1.0
        drops = -np.minimum(0.0, np.diff(values))
        assert drops.max() < 0.1 and values[0] < 0.3 and values[-1] > 0.6, task


def test_a_mixed_episode_says_who_drove_and_is_saved_by_the_operator():
    def stuck(observations, seeds):
        return np.tile(HOME.astype(np.float32), (len(observations), 16, 1))
    config = SupervisorConfig(max_takeovers=1)
    episode, = intervened_rollout(stuck, ['place'], [100_007], config=config)
    assert episode.success and episode.takeovers >= 1
    assert set(episode.source) == {SOURCE_POLICY, SOURCE_HUMAN}
    policy_rows = episode.source == SOURCE_POLICY
    np.testing.assert_array_equal(
        episode.actions[policy_rows], np.tile(HOME.astype(np.float32), (policy_rows.sum(), 1)))
    assert 0.1 < human_share([episode]) < 0.9


def test_an_item_pressed_against_the_shelf_is_taken_over_though_something_supports_it():
    world, supervisor = watched('crate', patience=1000)
    expert = Expert('crate')
    while not (world.steps > 20 and world.over_slot(world.focus())):
        assert drive(world, supervisor, expert.act, 1) is None
    height = world.item_pose('crate')[0][2]

    def press(now):
        position = now.item_pose('crate')[0]
        towards = np.array([0.0, 0.02 * (position[1] < 0.465), height - position[2]])
        return np.concatenate([np.append(reach(
            now, arm, now.tcp(arm)[0] + towards, grasp_of(now, now.focus(), arm).rotation, 0.03),
            0.0) for arm in ARMS])

    assert 'pressed against the shelf' in drive(world, supervisor, press, 80)
    assert world.supported('crate') and not world.stands('crate')


def test_the_expert_does_not_drag_a_crate_along_when_he_lets_go():
    for seed in range(20):
        world, rng, expert = World('crate'), np.random.default_rng(seed), Expert('crate')
        world.reset(20_000 + seed)
        furthest = 0.0
        while not world.success() and world.steps < 200:
            action = expert.act(world)
            action += rng.normal(0.0, 0.01, len(action)) * NOT_JAWS
            world.step(action)
            furthest = max(furthest, world.item_pose('crate')[0][1])
        assert world.success(), f'seed {seed}'
        assert furthest - world.item_pose('crate')[0][1] < 0.045, f'seed {seed}'

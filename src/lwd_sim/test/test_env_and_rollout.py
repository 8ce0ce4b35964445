# SPDX-License-Identifier: Apache-2.0
"""The environment keeps Gymnasium's rules; rollouts are scheduled as on the robot."""
import warnings

import gymnasium
from gymnasium.utils.env_checker import check_env
import numpy as np
import pytest

from lwd_core.images import decode_jpeg, encode_jpeg
from lwd_sim.collect import collect, demonstrate
from lwd_sim.env import ENV_ID, make_env
from lwd_sim.episode import SOURCE_HUMAN
from lwd_sim.evaluate import chunk_seed, evaluation_seeds, rollout, summarize
from lwd_sim.expert import Expert
from lwd_sim.features import STATE_NAMES
from lwd_sim.names import HOME
from lwd_sim.rendering import CameraRenderer
from lwd_sim.world import World


def test_the_environment_passes_gymnasiums_checker():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        check_env(gymnasium.make(ENV_ID, task='place').unwrapped, skip_render_check=True)


def test_an_episode_ends_with_reward_one_on_success_only():
    env = make_env('place')
    env.reset(seed=4)
    expert, rewards, terminated = Expert('place'), [], False
    while not terminated:
        _, reward, terminated, truncated, info = env.step(expert.act(env.world))
        rewards.append(reward)
        assert not truncated
    assert rewards[-1] == 1.0 and sum(rewards) == 1.0 and info['success']


def test_an_idle_episode_is_truncated_at_the_time_limit():
    env = make_env('crate')
    env.reset(seed=4, options={'task': 'place'})
    for _ in range(env.world.task.time_limit):
        _, reward, terminated, truncated, _ = env.step(HOME)
    assert (reward, terminated, truncated) == (0.0, False, True)


def test_observations_carry_state_or_images_never_both():
    state = make_env('place').observation()
    assert state.state.shape == (len(STATE_NAMES),) and state.images == {}
    env = make_env('place', observation='pixels')
    first, _ = env.reset(seed=1)
    pixels = env.observation()
    assert pixels.state is None and set(pixels.images) == {'head', 'left_wrist', 'right_wrist'}
    rendered = CameraRenderer().render(env.world)['head']
    np.testing.assert_array_equal(
        pixels.images['head'], decode_jpeg(encode_jpeg(rendered)), 'as robots publish them')
    assert first['head'].shape == (96, 96, 3) and first['head'].std() > 10
    env.close()


def test_an_unknown_observation_is_refused():
    with pytest.raises(ValueError, match="'state' or 'pixels'"):
        make_env('place', observation='sound')


def test_demonstrations_hold_what_was_executed_tick_by_tick():
    episode = demonstrate(World('place'), 10_001)
    assert episode.success and (episode.source == SOURCE_HUMAN).all()
    assert len(episode.joints) == len(episode.state) == episode.steps
    world = World('place')
    world.reset(10_001)
    for joints, action in zip(episode.joints, episode.actions):
        np.testing.assert_array_equal(joints, world.joints().astype(np.float32))
        world.step(action)
    assert world.success()


def test_collect_returns_as_many_successes_as_asked_for():
    episodes = collect('crate', 3)
    assert len(episodes) == 3 and all(episode.success for episode in episodes)


class Replay:
    """A policy that plays a recorded episode by the tick of the observation."""

    def __init__(self, episode, horizon=16):
        self.actions, self.horizon, self.stamps = episode.actions, horizon, []

    def __call__(self, observations, seeds):
        chunks = []
        for observation in observations:
            tick = observation.stamp_ns // 40_000_000
            self.stamps.append(tick)
            rows = np.clip(np.arange(tick, tick + self.horizon), 0, len(self.actions) - 1)
            chunks.append(self.actions[rows])
        return np.array(chunks)


def test_a_rollout_executes_the_row_of_its_tick_whatever_the_lookahead():
    episode = demonstrate(World('place'), 10_002)
    for lookahead in (0, 1):
        policy = Replay(episode)
        result, = rollout(policy, ['place'], [10_002], lookahead=lookahead, record=True)
        assert result.success and result.steps == episode.steps
        np.testing.assert_array_equal(result.episode.actions, episode.actions)
        assert policy.stamps[:3] == [0, 8 - lookahead, 16 - lookahead]


def test_rollouts_are_repeatable_and_summarized_by_task():
    def idle(observations, seeds):
        return np.tile(HOME.astype(np.float32), (len(observations), 16, 1))
    results = rollout(idle, ['place', 'crate'], evaluation_seeds(2))
    assert [(r.task, r.seed) for r in results] == [
        ('place', 1_000_000), ('place', 1_000_001), ('crate', 1_000_000), ('crate', 1_000_001)]
    assert summarize(results)['mean'] == 0.0 and summarize(results)['tasks']['crate']['n'] == 2
    assert chunk_seed(7, 8) == chunk_seed(7, 8) != chunk_seed(7, 16)

# SPDX-License-Identifier: Apache-2.0
"""Sub-steps score 1 at the first try, 0.5 with a retry or a flaw, 0 when they are not done."""
import numpy as np
import pytest

from lwd_sim.evaluate import Result, rollout, summarize
from lwd_sim.expert import Expert
from lwd_sim.names import HOME, jaw_index
from lwd_sim.scoring import StageScorer
from lwd_sim.world import World

SEED = 30_000


def start(task):
    world = World(task)
    world.reset(SEED)
    return world, Expert(task), StageScorer(world)


def drive(world, act, scorer, until, limit=1500):
    for _ in range(limit):
        success = world.step(act(world))
        scorer.watch()
        if success or until(world):
            return
    raise AssertionError(f'not there after {limit} steps')


def held(world, arm, item):
    return world.pads_touching(arm, item) == 2 and world.jaw_effort(arm) > 0.5


def let_go(world, arm):
    action = np.array(world.joints())
    action[jaw_index(arm)] = 1.0
    return action


@pytest.mark.parametrize('task', ['restock_shelf', 'fill_box'])
def test_the_expert_scores_full_marks_and_an_untouched_scene_none(task):
    world, expert, scorer = start(task)
    drive(world, lambda _: HOME, scorer, lambda now: now.steps > 20)
    assert set(scorer.scores()) == {0.0}      # a box that nobody opened was not closed either
    drive(world, expert.act, scorer, lambda now: now.success())
    assert scorer.scores() == (1.0,) * len(world.task.stages)


def test_a_dropped_item_that_is_fetched_again_scores_half():
    world, expert, scorer = start('restock_shelf')
    drive(world, expert.act, scorer, lambda now: held(now, 'left', 'cereal'))
    drive(world, expert.act, scorer, lambda now: now.item_pose('cereal')[0][2] > 0.09)
    drive(world, lambda now: let_go(now, 'left'), scorer,
          lambda now: now.item_pose('cereal')[0][2] < 0.06 and not now.pads_touching(
              'left', 'cereal'))
    drive(world, expert.act, scorer, lambda now: now.reached(0) and now.reached(1))
    assert scorer.retries[:2] == [1, 0]
    assert scorer.scores()[:3] == (0.5, 1.0, 0.0)


def test_what_was_placed_and_fell_again_scores_nothing_but_opening_the_box_counts():
    world, expert, scorer = start('fill_box')
    drive(world, expert.act, scorer, lambda now: now.reached(1))
    assert scorer.scores()[:2] == (1.0, 1.0)
    qpos, qvel, ctrl = world.state()
    lemon, lid = world._item_qpos['lemon'], world._item_qpos['lid']
    qpos[lemon:lemon + 3] = (-.35, .3, .025)
    qpos[lid:lid + 3] = (.35, .6, .01)
    world.set_state(qpos, np.zeros_like(qvel), ctrl)
    scorer.watch()
    assert scorer.scores()[:2] == (1.0, 0.0)


def test_a_leaning_item_is_a_flaw():
    world, expert, scorer = start('restock_shelf')
    drive(world, expert.act, scorer, lambda now: now.reached(0))
    scorer._world.tilt = lambda name: 1.5
    assert scorer.scores()[0] == 0.5


def test_rollouts_report_scores_of_long_tasks_and_outcomes_of_short_ones():
    def still(observations, seeds):
        return np.tile(HOME.astype(np.float32), (len(observations), 16, 1))
    short, = rollout(still, ['restock_item'], [SEED])
    assert short.scores == () and short.score == 0.0
    results = [Result('serve', 1, False, 9, None, (1.0, 0.5, 0.0, 0.0, 0.0)),
               Result('serve', 2, True, 9, None, (1.0,) * 5)]
    assert summarize(results)['tasks']['serve']['score'] == pytest.approx(0.65)
    assert summarize(results)['tasks']['serve']['success'] == 0.5


def test_held_out_instructions_are_given_in_turn():
    heard = []

    def listen(observations, seeds):
        heard.extend(observation.instruction for observation in observations)
        return np.tile(HOME.astype(np.float32), (len(observations), 16, 1))
    rollout(listen, ['restock_item'], [SEED, SEED + 1], instructions={'restock_item': ['a', 'b']})
    assert set(heard) == {'a', 'b'}

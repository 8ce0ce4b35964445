# SPDX-License-Identifier: Apache-2.0
"""The simulated robot's workspace leaves the tasks alone and stops what would leave the cell."""
from pathlib import Path

import numpy as np
import pytest

from lwd_core.guard import Clamp, CommandGuard
from lwd_core.robot import RobotSpec
from lwd_sim.mistakes import DRIVERS
from lwd_sim.names import HOME
from lwd_sim.world import World

FILE = Path(__file__).parents[3] / 'config' / 'robots' / 'sim.yaml'
DT = 0.04


@pytest.fixture(scope='module')
def guard():
    workspace = pytest.importorskip('lwd_intervention.arbiter.workspace')
    robot = RobotSpec.from_yaml(FILE)
    return CommandGuard(robot, workspace.MujocoWorkspace.for_robot(robot, FILE))


@pytest.mark.parametrize('task', ['place', 'crate', 'handover', 'restock_shelf', 'serve'])
def test_the_workspace_holds_nobody_who_does_his_task(guard, task):
    free, world = CommandGuard(RobotSpec.from_yaml(FILE)), World(task)
    world.reset(5)
    driver = DRIVERS['demonstration'](world, np.random.default_rng(5))
    sent = bare = None
    guard.reset()
    for _ in range(world.task.usual_time):
        action, _ = next(driver)
        result, plain = guard.check(action, sent, world.joints(), DT), free.check(
            action, bare, world.joints(), DT)
        sent, bare = result.sent, plain.sent
        assert np.array_equal(sent, bare) and result.clamped == plain.clamped
        if world.step(action):
            break


@pytest.mark.parametrize(('joint', 'target'), [(1, 1.2), (0, 2.5)])   # into the table, behind
def test_a_command_out_of_the_cell_is_stopped_before_it(guard, joint, target):
    position, clamped = np.array(HOME, dtype=float), Clamp.NONE
    guard.reset()
    sent = position.copy()
    for _ in range(60):
        wanted = sent.copy()
        wanted[joint] += np.clip(target - sent[joint], -0.1, 0.1)
        result = guard.check(wanted, sent, position, DT)
        sent, clamped = result.sent, clamped | result.clamped
        assert guard._shield._workspace.violation(sent) <= 1e-9
    assert clamped & Clamp.WORKSPACE and abs(sent[joint] - target) > 0.05
    assert any('workspace' in reason for reason in result.reasons)

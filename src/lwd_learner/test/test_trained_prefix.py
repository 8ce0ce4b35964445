# SPDX-License-Identifier: Apache-2.0
"""A policy trained with `max_delay` continues the rows it is given; one without is as before."""

import numpy as np
import pytest
import torch

from lwd_core.chunks.continuation import Continuation, TRAINED
from lwd_core.flow import ActingPolicy, make_policy
from lwd_core.normalization import Normalizer
from lwd_learner.algorithms.bc import bc_loss, BcConfig, given_steps

CONFIG = {'horizon': 6, 'action_dim': 1, 'joint_dim': 1, 'instruction_dim': 0, 'hidden': 48,
          'layers': 2, 'prediction': 'action'}
NORMS = {'joints': Normalizer.identity(1), 'action': Normalizer.identity(1)}


def make(**changes):
    torch.manual_seed(0)
    return make_policy({**CONFIG, **changes}, NORMS)


def two_ways(count, generator):
    """Return chunks that are all +1 or all -1: what comes first decides what follows."""
    sign = torch.randint(2, (count, 1, 1), generator=generator) * 2.0 - 1.0
    return {'joints': torch.zeros(count, 1), 'action': sign.expand(count, 6, 1).clone(),
            'imitate': torch.ones(count, 6)}


def test_what_was_given_decides_how_the_chunk_goes_on():
    policy, generator = make(max_delay=3), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    for _ in range(400):
        loss = bc_loss(policy, two_ways(128, generator), BcConfig(), generator=generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    robot = ActingPolicy(policy, steps=5)
    rows = [np.full((4, 1), sign, np.float32) for sign in (1, -1)] * 50
    chunks = robot.act_batch({'joints': torch.zeros(100, 1)}, list(range(100)),
                             [Continuation(row, 2, TRAINED) for row in rows])
    follows = [np.sign(chunk[5, 0]) == row[0, 0] for chunk, row in zip(chunks, rows)]
    assert np.mean(follows) > 0.97
    free = robot.act_batch({'joints': torch.zeros(100, 1)}, list(range(100)))
    assert 0.2 < (free[:, 5] > 0).mean() < 0.8  # and without, both ways are open


def test_given_steps_cost_nothing_and_carry_no_gradient():
    policy, generator = make(max_delay=5), torch.Generator().manual_seed(1)
    given = given_steps(policy, torch.zeros(1000, 6, 1), generator)
    counts = given.sum(1).long()
    assert counts.min() == 0 and counts.max() == 5
    assert torch.equal(given, (torch.arange(6) < counts[:, None]).float())
    assert np.bincount(counts, minlength=6) / 1000 == pytest.approx(np.full(6, 1 / 6), abs=0.05)


def test_a_policy_without_max_delay_draws_nothing_more():
    batch = two_ways(8, torch.Generator().manual_seed(0))
    policy = make()
    assert given_steps(policy, batch['action']) is None
    state = torch.Generator().manual_seed(3)
    bc_loss(policy, batch, BcConfig(), generator=state)
    again = torch.Generator().manual_seed(3)
    torch.rand(8, generator=again)
    torch.randn(8, 6, 1, generator=again)
    assert torch.equal(state.get_state(), again.get_state())

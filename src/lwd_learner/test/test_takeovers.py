# SPDX-License-Identifier: Apache-2.0
"""What a takeover says about what came before: in replay, in Q, and in the tilt.

The small world: from one start, +1 leads along a path to success; -1 gets stuck, where the policy
stays until a person takes over and walks the same path. Every episode is a success.
"""

from learner_fakes import episode
import numpy as np
import pytest
import torch

from lwd_core.flow import make_policy
from lwd_core.normalization import Normalizer
from lwd_core.params import ParamError
from lwd_learner.algorithms.agent import Agent
from lwd_learner.config import LearnerConfig
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.replay import ReplayBuffer
from lwd_learner.takeovers import overruled

H, PATH, STUCK = 2, 7, 12
POLICY, HUMAN = 1, 2


def rescued() -> EpisodeArrays:
    """Ten ticks: the policy drives four, a person three, the policy three."""
    return episode('a', 10, source=np.array([1] * 4 + [2] * 3 + [1] * 3, np.uint8))


def gathered(takeover: str, ticks: list[int], **options):
    buffer = ReplayBuffer(horizon=4, takeover=takeover)
    buffer.add(rescued())
    return buffer.gather(np.array(ticks), **options)


def test_takeovers_are_found_where_the_policy_was_overruled_even_after_a_hold():
    source = np.array([1, 1, 2, 2, 1, 0, 0, 2, 1, 0, 1, 2], np.uint8)
    assert np.flatnonzero(overruled(source)).tolist() == [1, 4, 10]
    assert not overruled(np.array([2, 2, 0, 2, 1], np.uint8)).any()


def test_ordinary_a_chunk_goes_on_across_the_takeover():
    batch = gathered('ordinary', [2])
    assert batch['mask'][0].tolist() == [1, 1, 1, 1]
    assert batch['next']['joints'][0, 0] == 6


def test_cut_a_chunk_ends_at_the_takeover_and_bootstraps_there():
    batch = gathered('cut', [1], n_step=10)
    assert batch['mask'][0].tolist() == [1, 1, 0, 0]
    assert batch['next']['joints'][0, 0] == 3 and batch['discount'][0] > 0
    assert batch['reward'][0] == 0


def test_failure_a_chunk_ends_at_the_takeover_with_value_zero():
    batch = gathered('failure', [2, 3], n_step=10)
    assert batch['mask'].tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    assert batch['reward'].tolist() == batch['discount'].tolist() == [0, 0]


@pytest.mark.parametrize('takeover', ['ordinary', 'cut', 'failure'])
def test_the_correction_and_what_follows_earn_the_episode_s_reward(takeover):
    batch = gathered(takeover, [5, 8], n_step=2)
    assert batch['reward'].tolist() == pytest.approx([0.9999 ** 4, 0.9999], abs=1e-6)
    assert batch['success'].tolist() == [1, 1]  # outcome figures and imitation stay the episode's


def test_a_window_spans_what_is_executed_though_the_chunk_is_longer():
    batch = gathered('ordinary', [0, 8], span=2)
    assert batch['mask'][0].tolist() == [1, 1, 1, 1]
    assert batch['next']['joints'][0, 0] == 2
    assert batch['discount'][0] == pytest.approx(0.9999 ** 2)
    assert batch['reward'][1] == pytest.approx(0.9999)  # the end is still seen within the span


def test_an_unknown_reading_is_refused_by_name():
    with pytest.raises(ParamError, match='takeover'):
        LearnerConfig.from_dict({'replay': {'takeover': 'forgive'}})


# -- what it does to Q, and to the policy


def states(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float32)


def walked(number: int, good: bool) -> EpisodeArrays:
    """One episode of the small world, a little noise in what was done."""
    rng = np.random.default_rng(number)
    path = [[0, 1, 0, k / PATH] for k in range(PATH)]
    stuck = [] if good else [[0, 0, 1, 0]] * (STUCK + 1)  # the last of them: a person's
    rows = states([[1, 0, 0, 0], *stuck, *path])
    between = [] if good else [*[0.0] * STUCK, 0.5]
    actions = np.array([1.0 if good else -1.0, *between, *[0.0] * PATH], np.float32)[:, None]
    actions += rng.normal(0, 0.05, actions.shape).astype(np.float32)
    source = np.full(len(rows), POLICY, np.uint8)
    if not good:
        source[1 + STUCK:] = HUMAN
    return episode(f'e{number}', len(rows), actions=actions, source=source, origin='online',
                   inputs={'joints': np.zeros((len(rows), 1), np.float32), 'state': rows})


def learned(takeover: str, gamma: float, updates: int, **agent) -> tuple[Agent, ReplayBuffer]:
    """Return an agent that cloned and then learned from the small world, half of it rescued."""
    buffer = ReplayBuffer(H, gamma, takeover=takeover)
    for number in range(20):
        buffer.add(walked(number, good=number % 2 == 0))
    torch.manual_seed(0)
    norms = {'joints': Normalizer.identity(1), 'state': Normalizer.identity(4),
             'action': Normalizer.identity(1)}
    made = Agent({
        'critic': {'hidden': 32, 'layers': 1, 'chunk': 'flat', 'learning_rate': 3e-3, 'ema': 0.03},
        'bc': {'learning_rate': 3e-3, 'loss': 'action'}, **agent}, make_policy(
        {'horizon': H, 'action_dim': 1, 'joint_dim': 1, 'state_dim': 4, 'hidden': 64,
         'instruction_dim': 4, 'prediction': 'action'}, norms))
    made.begin('online')
    rng, starts = np.random.default_rng(0), buffer.starts(0, 1)
    begins = starts[buffer.column('inputs.state')[starts][:, 0] > 0.5]
    for step in range(updates):
        ticks = np.concatenate((starts[rng.integers(0, len(starts), 96)],
                                begins[rng.integers(0, len(begins), 32)]))
        batch = buffer.gather(ticks)
        if agent.get('algorithm') != 'lwd':
            made.td.learn(batch, made.reference.normalize_action(batch['action']))
        elif step < 300:  # both ways are cloned first
            made.pretrain({**batch, 'imitate': batch['mask']})
        else:
            made.update(batch)
    made.target.eval()
    return made, buffer


def begin(count: int) -> dict[str, torch.Tensor]:
    return {'joints': torch.zeros(count, 1), 'instruction': torch.ones(count, 4),
            'state': torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1)}


def preference(agent: Agent) -> float:
    """Return Q of the chunk that needs no rescue, minus Q of the one that does."""
    chunks = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])[:, :, None]
    good, bad = agent.q_value(begin(2), chunks).tolist()
    return good - bad


def test_where_every_mistake_is_rescued_an_ordinary_takeover_hides_it():
    assert abs(preference(learned('ordinary', 0.9999, 1500)[0])) < 0.15


def test_read_as_a_failure_a_takeover_shows_which_chunk_needed_it():
    assert preference(learned('failure', 0.9999, 500)[0]) > 0.5


def test_a_discount_on_the_task_s_time_scale_shows_it_too():
    # the rescue costs 13 ticks: 0.95 ** 7 against 0.95 ** 20 if what the person did came at once
    assert preference(learned('ordinary', 0.95, 500)[0]) > 0.2


@pytest.mark.parametrize(('takeover', 'gamma'), [('failure', 0.9999), ('ordinary', 0.95)])
def test_the_tilt_prefers_the_chunk_that_needs_no_rescue(takeover, gamma):
    agent, _ = learned(takeover, gamma, 800, algorithm='lwd', form='residual', tilt_hidden=64,
                       actor_every=2,
                       qam={'beta': 20.0, 'learning_rate': 2e-3, 'robust': 'drop'})
    noise = torch.randn(256, H, 1, generator=torch.Generator().manual_seed(1))
    share = []
    with torch.no_grad():
        for policy in (agent.reference, agent.acting_policy()):
            chunk = policy.sample(policy.encode(begin(256)), noise)
            share.append(float((chunk[:, 0, 0] > 0).float().mean()))
    assert 0.3 < share[0] < 0.7  # the clone goes both ways
    assert share[1] > share[0] + 0.2

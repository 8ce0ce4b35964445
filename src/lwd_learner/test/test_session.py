# SPDX-License-Identifier: Apache-2.0
"""A learner's life: waits, starts, learns from what robots record, ends cleanly, resumes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lwd_core.checkpoint import list_checkpoints, read_channel
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.synthetic import Recipe, write_episode
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore
from lwd_core.task import load_tasks
from lwd_learner.config import LearnerConfig
from lwd_learner.session import LearnerSession, SessionSettings
from lwd_learner.trainer import train_sft, Workspace

ROOT = Path(__file__).resolve().parents[3]
ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')
CONFIG = LearnerConfig.from_dict({
    'policy': {'horizon': 8, 'hidden': 16, 'layers': 1, 'instruction_dim': 4},
    'sft': {'steps': 10, 'batch': 32},
    'learning': {'batch': 16, 'imitation_batch': 8},
    'publish': {'every_steps': 3},
    'agent': {'critic': {'hidden': 16, 'layers': 1, 'token': 8, 'queries': 1}},
})
LATER = '2099-01-01T00:00:00+00:00'  # recorded after the online phase began


@pytest.fixture(scope='module')
def definitions() -> Definitions:
    return Definitions([ROOT / 'src/lwd_msgs'])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    torch.set_num_threads(1)
    return Workspace(
        FolderStore(tmp_path / 'store'), tmp_path / 'learner', ROBOT,
        load_tasks(ROOT / 'config/tasks/sim.yaml'), config=CONFIG)


@pytest.fixture
def record(workspace: Workspace, definitions: Definitions):
    def record(name: str, **recipe) -> None:
        folder = workspace.store.local(f'episodes/robot1/2026-01-01/{name}')
        write_episode(folder, ROBOT, Recipe(id=name, **{'ticks': 30, **recipe}), definitions)
    return record


def session_of(workspace: Workspace, **settings) -> LearnerSession:
    return LearnerSession(workspace, SessionSettings(poll_seconds=0.0, **settings))


def test_waits_for_a_checkpoint_and_says_so(workspace):
    session = session_of(workspace)
    assert not session.turn()
    assert "no checkpoint in channel 'stable'" in session.status.reason
    session.close()


def test_learns_from_what_the_robots_record_and_publishes(workspace, record):
    record('demo', human=(0, 30))
    sft = train_sft(workspace)
    session = session_of(workspace)
    assert not session.turn()
    assert session.status.phase == 'waiting' and session.announced.digest == sft.digest
    record('e1', recorded_at=LATER, outcome='failure')
    assert all(session.turn() for _ in range(4))
    assert session.learner.phase == 'online' and session.learner.buffer.episodes == [1, 1]
    assert session.announced.step == 3
    session.close()
    assert [ref.step for ref in list_checkpoints(workspace.store)] == [0, 3, 4]
    assert read_channel(workspace.store, 'stable').step == 4
    assert session.announced.step == 4


def test_restart_goes_on_where_it_was(workspace, record):
    record('demo', human=(0, 30))
    train_sft(workspace)
    record('e1', recorded_at=LATER)
    first = session_of(workspace)
    for _ in range(5):
        first.turn()
    record('e2', recorded_at=LATER)
    first.close()
    second = session_of(workspace)
    assert second.turn() and second.learner.step_count == 6
    assert second.learner.buffer.episodes == [1, 2] and 'e2' in second.learner.buffer
    second.close()


def test_clones_the_demonstrations_itself_when_asked_to(workspace, record):
    session = session_of(workspace, bootstrap=2)
    record('d1', human=(0, 30))
    assert not session.turn()
    assert session.status.reason == 'waits for demonstrations: 1 of 2'
    record('d2', human=(0, 30), seed=3)
    session.turn()
    assert read_channel(workspace.store, 'stable').digest == session.announced.digest
    session.close()


def test_fault_keeps_taking_episodes_in_and_publishes_nothing(workspace, record):
    record('demo', human=(0, 30))
    train_sft(workspace)
    record('e1', recorded_at=LATER)
    session = session_of(workspace)
    session.turn()
    with torch.no_grad():
        next(session.learner.agent.critic.parameters()).fill_(float('nan'))
    assert not session.turn() and session.learner.phase == 'fault'
    record('e2', recorded_at=LATER)
    assert not session.turn() and 'e2' in session.learner.buffer
    session.close()
    assert session.status.phase == 'fault' and 'nan' in session.status.reason
    assert [ref.step for ref in list_checkpoints(workspace.store)] == [0]


def test_checkpoint_with_another_chunk_length_is_refused(workspace, record):
    record('demo', human=(0, 30))
    train_sft(workspace)
    other = replace(workspace, config=CONFIG.override(policy={'horizon': 4}))
    session = session_of(other)
    with pytest.raises(ValueError, match='chunks of 8 steps, the configuration says'):
        session.turn()
    session.close()

# SPDX-License-Identifier: Apache-2.0
"""A learner's life: waits, starts, learns from what robots record, ends cleanly, resumes."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from learner_stores import CONFIG, LATER, record_into, ROBOT, TASKS_FILE
import pytest
import torch

from lwd_core.checkpoint import list_checkpoints, read_channel
from lwd_core.store import FolderStore
from lwd_core.task import load_tasks
from lwd_learner.config import LearnerConfig
from lwd_learner.session import LearnerSession, SessionSettings
from lwd_learner.trainer import train_sft, Workspace

SMALL = LearnerConfig.from_dict(CONFIG)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    torch.set_num_threads(1)
    return Workspace(FolderStore(tmp_path / 'store'), tmp_path / 'learner', ROBOT,
                     load_tasks(TASKS_FILE), config=SMALL)


@pytest.fixture
def record(workspace: Workspace):
    return partial(record_into, workspace.store.path)


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
    other = replace(workspace, config=SMALL.override(policy={'horizon': 4}))
    session = session_of(other)
    with pytest.raises(ValueError, match='chunks of 8 steps, the configuration says'):
        session.turn()
    session.close()


def test_new_cloned_policy_in_the_channel_starts_learning_over(workspace, record):
    record('demo', human=(0, 30))
    train_sft(workspace)
    record('e1', recorded_at=LATER)
    first = session_of(workspace)
    first.turn()
    first.close()
    sft = train_sft(replace(workspace, seed=5))
    again = session_of(workspace)
    again.turn()
    assert again.learner.step_count == 1 and again.learner.root == sft.digest
    again.close()
    assert (workspace.work_dir / 'state.old').is_file()


def test_disk_trouble_at_ingest_is_tried_again_and_rejects_nothing(workspace, record, monkeypatch):
    record('demo', human=(0, 30))
    session = session_of(workspace)

    def full_disk(self, path, durable=True) -> None:
        raise OSError(28, 'no space')

    monkeypatch.setattr('lwd_learner.episodes.EpisodeArrays.save', full_disk)
    session.turn()
    assert session.rejected == 0 and session.ingest.pending() != []
    monkeypatch.undo()
    session.turn()
    assert session.ingest.pending() == [] and len(session.ingest.index.used()) == 1
    session.close()

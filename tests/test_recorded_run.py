# SPDX-License-Identifier: Apache-2.0
"""What the learner reads from a bag is what the policy saw on the robot, to the last bit.

A recorded chunk is a function of checkpoint, seed and observation. Where the chunk computed from
the bag's samples has the same bits as the one that the robot published, so had the observation.
"""

import numpy as np
import pytest

from lwd_bringup.shadow.feed import read_recording
from lwd_bringup.shadow.recompute import recompute
from lwd_core.checkpoint import list_checkpoints
from lwd_core.episode import list_episodes, read_episode, read_meta
from lwd_core.episode.audit import QUARANTINE
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
LOOKED_AT = 6  # episodes


@pytest.fixture(scope='module')
def driven(quick_demo):
    """Return (folder, meta) of episodes that a checkpoint drove which is still in the store."""
    store = FolderStore(quick_demo / 'store', create=False)
    kept = {ref.digest for ref in list_checkpoints(store)}
    found = [(store.local(path), read_meta(store, path)) for path in list_episodes(store)]
    chosen = [(folder, meta) for folder, meta in found
              if meta.checkpoints and meta.checkpoints[-1]['digest'] in kept]
    assert chosen, 'no episode of the run was driven by a checkpoint that is still there'
    return chosen[:LOOKED_AT // 2] + chosen[-LOOKED_AT // 2:]


def test_chunks_computed_from_the_bag_have_the_bits_the_robot_published(quick_demo, driven):
    for folder, meta in driven:
        recording = read_recording(folder)
        found = recompute(folder, recording.robot, recording.chunks, str(quick_demo / 'store'),
                          meta.checkpoints[-1]['digest'], recording.backend)
        assert found['chunks'] > 0 and found['without_samples'] == 0, (meta.id, found)
        assert found['bit_exact'] == found['chunks'], (meta.id, found)


def test_recorded_episodes_pass_the_audit_with_the_samples_that_were_joined_live(driven):
    for folder, meta in driven:
        robot = RobotSpec.from_dict(meta.robot_spec)
        data = read_episode(folder, robot, ObservationSpec.for_robot(robot, 'state'),
                            require_outcome=False)
        assert data.substituted == data.dropped == 0, meta.id
        assert not data.gaps.any()
        if meta.outcome != 'unlabelled':
            assert data.audit.verdict != QUARANTINE, (meta.id, data.audit.warnings)
        assert np.isfinite(data.joints).all()

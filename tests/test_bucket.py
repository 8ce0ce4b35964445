# SPDX-License-Identifier: Apache-2.0
"""Learner and robot meet in a bucket: published over HTTP, polled, verified, loaded, ingested."""

import os
from pathlib import Path
import sys

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from lwd_core.checkpoint import CheckpointError, list_checkpoints, load_checkpoint  # noqa: E402
from lwd_core.episode import list_episodes  # noqa: E402
from lwd_core.episode.definitions import Definitions  # noqa: E402
from lwd_core.episode.meta import META  # noqa: E402
from lwd_core.episode.synthetic import Recipe, write_episode  # noqa: E402
from lwd_core.flow import make_policy  # noqa: E402
from lwd_core.normalization import Normalizer  # noqa: E402
from lwd_core.observation import ObservationSpec  # noqa: E402
from lwd_core.robot import RobotSpec  # noqa: E402
from lwd_core.store import open_store, StoreAwayError  # noqa: E402
from lwd_learner.ingest import Ingest, IngestSettings  # noqa: E402
from lwd_learner.publish import Publisher  # noqa: E402
from lwd_policy_node.channel import ChannelPoller  # noqa: E402
from lwd_policy_node.loading import load, LoadRequest  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'src/lwd_core/test'))
from s3_server import environment_of, s3_server  # noqa: E402

ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')
SIZES = {'action': ROBOT.action_dim, 'joints': ROBOT.action_dim, 'state': len(ROBOT.state_names)}


@pytest.fixture
def bucket(tmp_path):
    with s3_server() as environment, environment_of({**os.environ, **environment,
                                                     'LWD_CACHE': str(tmp_path / 'cache')}):
        yield 's3://fleet/lwd'


def policy():
    noise = np.random.default_rng(0)
    norms = {name: Normalizer.from_data(noise.normal(size=(50, size)).astype(np.float32)).to_json()
             for name, size in SIZES.items()}
    return make_policy({'horizon': 8, 'action_dim': SIZES['action'], 'joint_dim': SIZES['joints'],
                        'state_dim': SIZES['state'], 'instruction_dim': 8, 'hidden': 16,
                        'layers': 2}, norms)


def test_a_robot_polls_verifies_and_loads_what_the_learner_published(bucket):
    publisher = Publisher(open_store(bucket), ROBOT, keep=1)
    heard = []
    poller = ChannelPoller(bucket, 'stable', 3600.0, heard.append, pytest.fail)
    poller.close()
    for step in (1, 2, 3):
        ref = publisher.publish(policy(), step, {'loss': 1.0}, 'sft')
        poller.poll()
    assert [candidate.step for candidate in heard] == [1, 2, 3]
    assert [kept.step for kept in list_checkpoints(open_store(bucket))] == [3], 'keep=1'
    loaded = load(LoadRequest(bucket, ROBOT, heard[-1].digest, heard[-1].uri))
    assert (loaded.digest, loaded.step) == (ref.digest, 3)
    with pytest.raises(CheckpointError, match='missing'):
        load(LoadRequest(bucket, ROBOT, heard[0].digest, heard[0].uri))


def test_half_a_checkpoint_in_the_bucket_is_refused_and_a_bucket_that_is_away_is_not_its_fault(
        bucket, monkeypatch):
    store = open_store(bucket)
    ref = Publisher(store, ROBOT).publish(policy(), 1, {}, 'sft')
    path = f'{ref.uri}/policy.safetensors'
    whole = store.get(path)
    store.put(path, whole[:len(whole) // 2])
    with pytest.raises(CheckpointError, match='policy.safetensors'):
        load_checkpoint(store, ref.digest, ROBOT)
    monkeypatch.setenv('AWS_ENDPOINT_URL', 'http://127.0.0.1:9')
    with pytest.raises(StoreAwayError, match='does not answer'):
        open_store(bucket).get(path)


def test_the_learner_ingests_what_robots_uploaded(bucket, tmp_path):
    store = open_store(bucket)
    definitions = Definitions([ROOT / 'src/lwd_msgs'])
    for number in (1, 2):
        folder = tmp_path / f'ep-{number}'
        meta = write_episode(folder, ROBOT, Recipe(id=folder.name, ticks=40, seed=number),
                             definitions)
        store.put_dir(folder, meta.store_path, META)
    assert len(list_episodes(store)) == 2
    ingest = Ingest(store, tmp_path / 'work', IngestSettings(
        ROBOT, ('place',), ObservationSpec.for_robot(ROBOT, 'state')))
    try:
        assert [arrays.episode_id for arrays in ingest.poll()] == ['ep-1', 'ep-2']
        assert list(ingest.poll()) == [], 'each once'
    finally:
        ingest.close()

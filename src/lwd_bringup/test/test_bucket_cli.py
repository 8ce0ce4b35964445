# SPDX-License-Identifier: Apache-2.0
"""Every command that takes a store takes a bucket: here moto's S3 server on loopback."""

import os
import sys

from offline_fixtures import run, write_config, write_episodes
import pytest
from typer.testing import CliRunner

pytest.importorskip('moto', reason='the S3 server is in requirements/dev.in')

from lwd_bringup.cli.main import app
from lwd_bringup.offline import Options
from lwd_bringup.online import Deployment, train_online
from lwd_bringup.paths import checkout_dir, config_dir
from lwd_core.checkpoint import list_checkpoints, read_channel
from lwd_core.episode.meta import META
from lwd_core.store import open_store

sys.path.insert(0, str(checkout_dir() / 'src/lwd_core/test'))
from s3_server import environment_of, s3_server

URL = 's3://fleet/lwd'


@pytest.fixture(scope='module')
def bucket(tmp_path_factory):
    """A bucket with three episodes, trained offline by the command; the folder of what is local."""
    top = tmp_path_factory.mktemp('bucket')
    with s3_server() as environment, environment_of(
            {**os.environ, **environment, 'LWD_CACHE': str(top / 'cache')}
    ), pytest.MonkeyPatch.context() as patch:
        patch.chdir(top)
        store = open_store(URL)
        for folder in write_episodes(top / 'made'):
            store.put_dir(folder, f'episodes/sim/2026-01-01/{folder.name}', META)
        printed = run('train', 'offline', '--data', URL, '--config', write_config(top), '--steps',
                      '2', '--channel', 'candidate')
        assert 'critic in data/offline/offline' in printed
        yield top


def test_offline_training_reads_from_a_bucket_and_publishes_into_it(bucket):
    store = open_store(URL)
    assert len(list_checkpoints(store)) == 2  # the clone it began with, and the result
    ref = read_channel(store, 'candidate')
    assert ref is not None and ref.digest[:12] in run('checkpoints', 'list', '--store', URL)
    assert (bucket / 'data/offline/index.sqlite').is_file()


def test_a_bucket_is_learned_from_online(bucket):
    options = Options(config=bucket / 'tiny.yaml', steps=2)
    status = train_online(URL, bucket / 'online', options, Deployment(initial=read_channel(
        open_store(URL), 'candidate').digest), lambda *_: None, lambda: False)
    assert sum(status.episodes) == 3, status


def test_episodes_are_listed_shown_audited_labelled_and_exported_from_a_bucket(bucket, tmp_path):
    listed = run('episodes', 'list', '--store', URL)
    assert '3 episodes, 2 successful' in listed and 'helped' in listed
    assert '# audit: use' in run('episodes', 'show', 'helped', '--store', URL)
    assert 'quarantine' not in run('episodes', 'audit', '--store', URL)
    run('episodes', 'label', 'fail', 'success', '--store', URL)
    assert '3 successful' in run('episodes', 'list', '--store', URL)
    run('episodes', 'label', 'fail', 'failure', '--store', URL)
    assert '1 episodes, 40 frames' in run(
        'episodes', 'export', tmp_path / 'set', 'helped', '--lerobot', '--store', URL)
    run('episodes', 'import', tmp_path / 'set', '--task', 'place', '--robot-file',
        config_dir() / 'robots/sim.yaml', '--robot', 'other', '--store', URL)
    assert '1 episodes' in run('episodes', 'list', '--store', URL, '--robot', 'other')


def test_bags_are_verified_in_a_bucket(bucket):
    assert '1 episodes, 0 damaged' in run('bags', 'verify', 'helped', '--store', URL)
    assert 'whole episodes in s3://fleet/lwd' in run('bags', 'list', '--store', URL)


def test_the_value_of_an_episode_in_a_bucket_is_drawn(bucket, tmp_path):
    printed = run('value', 'helped', '--store', URL, '--config', bucket / 'tiny.yaml',
                  '--out', tmp_path / 'out')
    assert 'helped: success, 40 ticks' in printed
    assert (tmp_path / 'out/value.png').stat().st_size > 10_000


def test_replay_and_shadow_take_episode_and_checkpoint_from_a_bucket(bucket):
    pytest.importorskip('rclpy')
    digest = read_channel(open_store(URL), 'candidate').digest
    printed = run('replay', 'helped', '--store', URL, '--shadow', 'candidate', '--dry-run')
    assert digest in printed and URL in printed, printed
    assert f'{bucket}/cache/' in printed and '/episodes/sim/2026-01-01/helped' in printed, printed


def test_a_bucket_that_does_not_answer_is_named(bucket, monkeypatch):
    monkeypatch.setenv('AWS_ENDPOINT_URL', 'http://127.0.0.1:9')
    result = CliRunner().invoke(app, ['episodes', 'list', '--store', 's3://fleet/away'])
    assert 's3://fleet/away does not answer' in str(result.exception)

# SPDX-License-Identifier: Apache-2.0
"""`lwd bags`: what is whole, what is not, and what can be saved, with exit codes for scripts."""

import fcntl
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwd_bringup.cli.bags import app
from lwd_bringup.graph import build_graph
from lwd_core.episode import EpisodeMeta
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.meta import META
from lwd_core.episode.synthetic import Recipe, write_episode
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore

ROOT = Path(__file__).resolve().parents[3]
ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')
DEFINITIONS = Definitions([ROOT / 'src/lwd_msgs'])


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output, result.exception


@pytest.fixture
def store(tmp_path):
    """Return a store with one whole episode, and a spool with one that was never closed."""
    store = FolderStore(tmp_path / 'store')
    whole = tmp_path / 'ep-1'
    meta = write_episode(whole, ROBOT, Recipe(id='ep-1', ticks=10), DEFINITIONS)
    store.put_dir(whole, meta.store_path, META, move=True)
    left = store.path / '.spool/sim/ep-2'
    meta = write_episode(left, ROBOT, Recipe(id='ep-2', ticks=10), DEFINITIONS)
    opened = EpisodeMeta(id='ep-2', robot='sim', robot_digest=meta.robot_digest, task='place',
                         instruction='', robot_spec=meta.robot_spec)
    (left / 'opened.json').write_bytes(opened.to_json())
    (left / 'ep-2_0.mcap').rename(left / 'ep-2_0.mcap.partial')
    for name in (META, 'metadata.yaml'):
        (left / name).unlink()
    return store


def bag(store):
    return next(store.path.glob('episodes/*/*/ep-1/*.mcap'))


def test_list_shows_what_waits_and_counts_what_is_whole(store):
    code, output, _ = run('list', '--store', store.path)
    assert code == 0 and 'open' in output and 'ep-2' in output and '1 whole episodes' in output


def test_verify_exits_1_and_names_what_is_damaged(store):
    assert run('verify', '--store', store.path)[:2] == (
        0, f'whole    {bag(store).parent}\n1 episodes, 0 damaged\n')
    bag(store).write_bytes(bag(store).read_bytes()[:-9])
    code, output, _ = run('verify', 'ep-1', '--store', store.path)
    assert code == 1 and 'damaged' in output and 'bytes, must have' in output
    code, _, error = run('verify', 'ep-9', '--store', store.path)
    assert code == 1 and "no episode starts with 'ep-9'" in str(error)


def test_recover_completes_what_a_recorder_left_and_exits_0(store):
    code, output, _ = run('recover', '--store', store.path)
    assert code == 0 and 'ep-2' in output and 'messages' in output
    assert (store.path / '.spool/sim/ep-2' / META).is_file()
    assert run('recover', '--store', store.path)[:2] == (0, 'nothing to recover\n')


def test_recover_exits_3_if_something_was_lost_and_1_if_everything_was(store, tmp_path):
    data = bag(store).read_bytes()
    (tmp_path / 'cut.mcap').write_bytes(data[:len(data) // 2])
    (tmp_path / 'not.mcap').write_bytes(b'not a bag')
    code, output, _ = run('recover', tmp_path / 'cut.mcap')
    assert code == 3 and 'lossy' in output and 'is cut' in output
    assert next((tmp_path / 'cut-recovered').glob('*.mcap')).is_file()
    assert run('recover', tmp_path / 'cut.mcap', '--output', tmp_path / 'other')[0] == 3
    assert run('recover', tmp_path / 'not.mcap')[0] == 1
    assert 'is not there' in str(run('recover', tmp_path / 'nothing')[2])


def test_a_spool_that_is_being_recorded_into_is_left_alone(store):
    with open(store.path / '.spool/sim/.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, error = run('recover', '--store', store.path)
    assert code == 1 and 'in use by another recorder' in str(error)
    assert not (store.path / '.spool/sim/ep-2' / META).exists()


def test_a_bucket_brings_an_uploader_with_it_and_a_folder_does_not():
    def nodes(**values):
        return {node.name: node for node in build_graph('robot', **values).nodes}

    assert 'uploader' not in nodes(store='/data/store')
    bucket = nodes(store='s3://fleet/lwd')
    assert bucket['uploader'].parameters['store'] == 's3://fleet/lwd'
    assert bucket['policy'].parameters['store'] == 's3://fleet/lwd'
    local = bucket['recorder'].parameters['local_store']
    assert local == bucket['uploader'].parameters['local_store'] and Path(local).is_absolute()
    mounted = nodes(store='/mnt/store', local_store='/data/local')
    assert mounted['recorder'].parameters['local_store'] == '/data/local'
    assert 'uploader' in mounted

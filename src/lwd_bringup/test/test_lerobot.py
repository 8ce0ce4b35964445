# SPDX-License-Identifier: Apache-2.0
"""LeRobot v3.0: what is written follows its schema, and comes back as it was."""

import json
import os

from exchange_fixtures import picture, record, ROBOT, ROBOT_FILE
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lwd_bringup.export.errors import ExchangeError
from lwd_bringup.export.lerobot import contiguous, export_lerobot
from lwd_bringup.export.statistics import image_stats, merged_images, vector_stats
from lwd_bringup.export.video import read_frames
from lwd_bringup.importing.run import import_demonstrations
from lwd_core.episode import list_episodes, read_episode, read_meta
from lwd_core.observation import ObservationSpec
from lwd_core.store import FolderStore

PIXELS = ObservationSpec.for_robot(ROBOT, 'pixels')
J = len(ROBOT.joint_names)


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
    store = tmp_path_factory.mktemp('store')
    return [record(store, 'a', human=(10, 20)),
            record(store, 'b', seed=1, outcome='failure', instruction='lift it', task='crate'),
            record(store, 'c', seed=2, gap=(12, 15))]


@pytest.fixture(scope='module')
def dataset(recorded, tmp_path_factory):
    out = tmp_path_factory.mktemp('out') / 'set'
    said = []
    count = export_lerobot(recorded, out, privileged=True, say=said.append)
    assert count == (4, 87) and len(said) == 3  # the gap makes two episodes of one recording
    return out


def table(dataset):
    return pq.read_table(dataset / 'data/chunk-000/file-000.parquet')


def test_info_names_version_rate_features_and_totals(dataset):
    info = json.loads((dataset / 'meta/info.json').read_text())
    assert info['codebase_version'] == 'v3.0' and info['fps'] == 25
    assert (info['total_episodes'], info['total_frames'], info['total_tasks']) == (4, 87, 2)
    assert info['splits'] == {'train': '0:4'}
    features = info['features']
    assert features['observation.state'] == {
        'dtype': 'float32', 'shape': [J], 'names': list(ROBOT.joint_names)}
    assert features['action']['names'] == list(ROBOT.joint_names)
    assert features['observation.environment_state']['names'] == list(ROBOT.state_names)
    head = features['observation.images.head']
    assert (head['dtype'], head['shape'], head['names']) == (
        'video', [96, 96, 3], ['height', 'width', 'channels'])
    assert head['info']['video.fps'] == 25 and head['info']['video.codec'] == 'h264'
    for name in ('intervention', 'next.done', 'next.success'):
        assert features[name] == {'dtype': 'bool', 'shape': [1], 'names': None}


def test_rows_are_what_the_robot_saw_and_did(dataset, recorded):
    rows = table(dataset)
    assert rows.num_rows == 87 and rows.schema.field('action').type == pa.list_(pa.float32(), J)
    data = read_episode(recorded[0], ROBOT, PIXELS)
    first = rows.slice(0, 30)
    np.testing.assert_array_equal(np.stack(first['observation.state'].to_numpy()), data.joints)
    np.testing.assert_array_equal(np.stack(first['action'].to_numpy()), data.actions)
    assert first['intervention'].to_pylist() == [10 <= t < 20 for t in range(30)]
    assert first['source'].to_pylist() == data.source.tolist()
    np.testing.assert_allclose(first['timestamp'].to_numpy(), np.arange(30) / 25, rtol=1e-6)
    assert rows['index'].to_pylist() == list(range(87))
    assert rows['episode_index'].to_pylist() == [0] * 30 + [1] * 30 + [2] * 12 + [3] * 15


def test_only_the_end_of_a_recording_is_done_and_only_a_success_pays(dataset):
    rows = table(dataset)
    done = np.flatnonzero(rows['next.done'].to_numpy(zero_copy_only=False)).tolist()
    success = np.flatnonzero(rows['next.success'].to_numpy(zero_copy_only=False)).tolist()
    assert done == [29, 59, 86] and success == [29, 86]
    assert np.flatnonzero(rows['next.reward'].to_numpy()).tolist() == [29, 86]


def test_tasks_are_a_frame_that_pandas_indexes_by_text(dataset):
    tasks = pq.read_table(dataset / 'meta/tasks.parquet')
    pandas = json.loads(tasks.schema.metadata[b'pandas'])
    assert pandas['index_columns'] == ['__index_level_0__']
    assert tasks['__index_level_0__'].to_pylist() == ['put the item on the shelf', 'lift it']
    assert table(dataset)['task_index'].to_pylist() == [0] * 30 + [1] * 30 + [0] * 27


def test_episodes_say_where_their_rows_and_frames_are(dataset):
    rows = pq.read_table(dataset / 'meta/episodes/chunk-000/file-000.parquet').to_pylist()
    assert [row['length'] for row in rows] == [30, 30, 12, 15]
    assert [row['dataset_from_index'] for row in rows] == [0, 30, 60, 72]
    key = 'videos/observation.images.head'
    assert [row[f'{key}/from_timestamp'] for row in rows] == [0, 1.2, 2.4, 2.88]
    assert [row['lwd/episode_id'] for row in rows] == ['a', 'b', 'c', 'c']
    assert rows[0]['lwd/outcome'] == 'success' and rows[0]['tasks'] == ['put the item on the shelf']
    assert np.shape(rows[0]['stats/observation.images.head/mean']) == (3, 1, 1)
    assert len(rows[0]['stats/action/q99']) == J and rows[0]['stats/action/count'] == [30]
    video = dataset / 'videos/observation.images.head/chunk-000/file-000.mp4'
    frames = list(read_frames(video, 1.2, 30, 25))
    for tick in (0, 17, 29):
        assert np.abs(frames[tick].astype(int) - picture('head', tick)).mean() < 3


def test_statistics_of_the_whole_are_those_of_all_rows(dataset):
    stats = json.loads((dataset / 'meta/stats.json').read_text())
    actions = np.stack(table(dataset)['action'].to_numpy()).astype(float)
    np.testing.assert_allclose(stats['action']['mean'], actions.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stats['action']['q10'], np.quantile(actions, 0.1, 0), rtol=1e-6)
    assert stats['action']['count'] == [87]
    assert 0 < stats['observation.images.head']['mean'][0][0][0] < 1


def test_image_statistics_merge_exactly():
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(6)]
    whole = image_stats(frames)
    merged = merged_images([image_stats(frames[:2]), image_stats(frames[2:])])
    for name in ('min', 'max', 'mean', 'std'):
        np.testing.assert_allclose(merged[name], whole[name])
    assert merged['count'] == [6]
    assert vector_stats(np.arange(5))['q50'] == [2.0]


def test_what_was_exported_comes_back_by_import_once(dataset, tmp_path):
    store = tmp_path / 'store'
    said = []
    assert import_demonstrations(dataset, str(store), ROBOT_FILE, 'place', say=said.append) == (
        4, 0)
    assert import_demonstrations(dataset, str(store), ROBOT_FILE, 'place') == (0, 4)
    opened = FolderStore(store)
    found = {read_meta(opened, path).origin['path']: (path, read_meta(opened, path))
             for path in list_episodes(opened)}
    path, meta = found['set#0']
    data = read_episode(opened.local(path), ROBOT, PIXELS, {'place'})
    rows = table(dataset)
    np.testing.assert_array_equal(data.joints,
                                  np.stack(rows['observation.state'].to_numpy()[:30]))
    np.testing.assert_array_equal(data.actions, np.stack(rows['action'].to_numpy()[:30]))
    assert data.source.tolist() == [1] * 10 + [2] * 10 + [1] * 10
    assert data.success and data.instruction == 'put the item on the shelf'
    seen = data.observation(5).images['left_wrist'].astype(int)
    assert np.abs(seen - picture('left_wrist', 5)).mean() < 4
    assert data.audit.verdict == 'use', data.audit.warnings
    outcomes = [found[f'set#{n}'][1].outcome for n in range(4)]
    assert outcomes == ['success', 'failure', 'unlabelled', 'success']
    assert meta.labelled_by == 'import' and 'imported from lerobot set#0' in meta.detail


def test_a_gap_parts_a_recording():
    class Data:
        gaps = np.array([False, True, False, False, True, False])

        def __len__(self):
            return 6
    assert list(contiguous(Data())) == [(0, 2), (2, 5), (5, 6)]


def test_an_export_is_closed_to_others_as_the_bags_are(recorded, tmp_path):
    before = os.umask(0)
    try:
        export_lerobot(recorded[:1], tmp_path / 'new')
    finally:
        os.umask(before)
    found = [tmp_path / 'new', *(tmp_path / 'new').rglob('*')]
    assert len(found) > 8
    for path in found:
        assert path.stat().st_mode & 0o007 == 0, path


def test_an_existing_folder_is_left_alone_and_an_error_leaves_nothing(recorded, tmp_path):
    (tmp_path / 'there').mkdir()
    with pytest.raises(ExchangeError, match='there exists: name a folder'):
        export_lerobot(recorded[:1], tmp_path / 'there')

    def folders():
        yield recorded[0]
        raise OSError('disk')
    with pytest.raises(OSError, match='disk'):
        export_lerobot(folders(), tmp_path / 'new')
    assert list(tmp_path.iterdir()) == [tmp_path / 'there']


def test_an_episode_that_cannot_be_read_is_named_and_left_out(recorded, tmp_path):
    bad = record(tmp_path, 'bad')
    bag = bad / 'bad_0.mcap'
    bag.write_bytes(bag.read_bytes()[:-10])
    said = []
    assert export_lerobot([bad, recorded[0]], tmp_path / 'out', say=said.append) == (1, 30)
    assert 'left out' in said[0] and 'bytes, must have' in said[0]
    with pytest.raises(ExchangeError, match='no episode to export'):
        export_lerobot([bad], tmp_path / 'none')


@pytest.mark.parametrize(('change', 'text'), [
    (lambda info: info.update(codebase_version='v2.1'), "codebase_version is 'v2.1', must be v3"),
    (lambda info: info.update(fps=30), 'has 30 frames a second, robot .* runs at 25 Hz'),
    (lambda info: info['features'].pop('action'), "has no feature 'action'"),
    (lambda info: info['features']['action'].update(names=[f'x{i}' for i in range(J)]),
     'for joint .*: name it under `joints` in the mapping'),
])
def test_a_dataset_that_does_not_fit_is_refused_by_name(dataset, tmp_path, change, text):
    import shutil
    copy = tmp_path / 'set'
    shutil.copytree(dataset, copy)
    path = copy / 'meta/info.json'
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))
    with pytest.raises(ExchangeError, match=text):
        import_demonstrations(copy, str(tmp_path / 'store'), ROBOT_FILE, 'place')
    assert list_episodes(FolderStore(tmp_path / 'store')) == []


def test_lerobot_itself_loads_it_where_it_is_installed(dataset):
    lerobot = pytest.importorskip('lerobot.datasets.lerobot_dataset',
                                  reason='lerobot pins another torch; the schema is tested above')
    loaded = lerobot.LeRobotDataset('lwd/test', root=dataset)
    assert loaded.num_frames == 87 and loaded.num_episodes == 4

# SPDX-License-Identifier: Apache-2.0
"""A Rerun recording, read back with Rerun's own reader, holds what the bag holds."""

from exchange_fixtures import record
import numpy as np
import pytest

from lwd_bringup.audits import seen_with
from lwd_bringup.export.errors import ExchangeError
from lwd_bringup.export.rerun import arms_of, export_rerun
from lwd_core.episode import EpisodeMeta, read_episode
from lwd_core.robot import RobotSpec


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """An episode's data, and the recording's rows by entity."""
    pytest.importorskip('rerun', reason='rerun-sdk is in extras.in: make setup EXTRAS=1')
    chunk = pytest.importorskip('rerun.chunk', reason='reads .rrd files since rerun-sdk 0.41')
    top = tmp_path_factory.mktemp('rerun')
    folder = record(top, 'x', ticks=30, human=(10, 16))
    export_rerun(folder, top / 'new' / 'x.rrd')
    assert (top / 'new' / 'x.rrd').stat().st_mode & 0o007 == 0
    reader = chunk.RrdReader(top / 'new' / 'x.rrd')
    assert len(reader.recordings()) == len(reader.blueprints()) == 1
    assert [path.name for path in (top / 'new').iterdir()] == ['x.rrd']
    rows, static = {}, {}
    for one in reader.stream():
        (static if one.is_static else rows)[one.entity_path] = one.to_record_batch().to_pydict()
    meta = EpisodeMeta.read(folder)
    robot = RobotSpec.from_dict(meta.robot_spec)
    return read_episode(folder, robot, seen_with(meta, robot)), robot, rows, static


def seconds(values):
    return [value.total_seconds() if hasattr(value, 'total_seconds') else value / 1e9
            for value in values]


def test_joints_and_actions_are_there_by_arm_with_their_names(exported):
    data, robot, rows, static = exported
    for arm, joints in arms_of(robot).items():
        for what, values in (('measured', data.joints), ('sent', data.actions)):
            found = rows[f'/joints/{arm}/{what}']
            np.testing.assert_array_equal(found['Scalars:scalars'], values[:, joints])
            assert found['tick'] == list(range(30))
            np.testing.assert_allclose(seconds(found['time']),
                                       (data.ticks_ns - data.ticks_ns[0]) / 1e9)
            names = static[f'/joints/{arm}/{what}']['SeriesLines:names'][0]
            assert names == [f'{robot.joint_names[j].split("/")[-1]} {what}' for j in joints]


def test_frames_are_the_recorded_bytes_once_each(exported):
    data, robot, rows, _ = exported
    for camera in robot.camera_names:
        found = rows[f'/camera/{camera}']
        assert len(found['tick']) == len(np.unique(data.frame_stamps(camera)))
        for tick, blob in zip(found['tick'], found['EncodedImage:blob']):
            assert bytes(blob[0]) == data.frame(camera, tick)


def test_who_drove_and_what_became_of_it_are_told(exported):
    data, _, rows, static = exported
    drivers = [row[0] for row in rows['/driver']['Scalars:scalars']]
    assert drivers == list(data.source) and set(drivers) == {1, 2}
    text, = static['/episode']['TextDocument:text'][0]
    assert data.instruction in text and '| outcome | success |' in text


def test_an_existing_file_is_left_alone_and_an_error_leaves_nothing(tmp_path, monkeypatch):
    pytest.importorskip('rerun', reason='rerun-sdk is in extras.in: make setup EXTRAS=1')
    folder = record(tmp_path, 'x', ticks=10)
    (tmp_path / 'x.rrd').write_text('mine')
    with pytest.raises(ExchangeError, match='exists'):
        export_rerun(folder, tmp_path / 'x.rrd')
    assert (tmp_path / 'x.rrd').read_text() == 'mine'
    monkeypatch.setattr('lwd_bringup.export.rerun._frames', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_rerun(folder, tmp_path / 'out' / 'y.rrd')
    assert list((tmp_path / 'out').iterdir()) == []

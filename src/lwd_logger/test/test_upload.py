# SPDX-License-Identifier: Apache-2.0
"""Every finished episode reaches the store, whatever the store does, and stays here until then."""

from dataclasses import replace
import json
import os
from pathlib import Path
import sys

import pytest

from lwd_core.episode import list_episodes, read_meta
from lwd_core.episode.meta import META
from lwd_core.params import ParamError
from lwd_core.store import FolderStore, StoreAwayError
from lwd_core.stores import folder as folder_module
from lwd_logger.config import UploaderParams
from lwd_logger.lock import SpoolError
from lwd_logger.upload import UploadClocks, Uploader, UploadState

sys.path.insert(0, str(Path(__file__).parent))
from support import Bench

DAY = 86400.0


class World:
    """A recorder, an uploader and a store that can be away, on one fake clock."""

    def __init__(self, path, remote=None, **params):
        self.now = 1000.0
        self.slept, self.logs, self.reports = [], [], []
        self.local = FolderStore(path / 'local')
        self.remote = remote or MoodyStore(path / 'remote')
        self.bench = Bench(path, store=self.local)
        clocks = UploadClocks(lambda: self.now, lambda: self.now, self.sleep, lambda: 1.0)
        self.params = UploaderParams(store=str(path / 'remote'), local_store=str(path / 'local'),
                                     keep_free_mib=0, **params)
        self.uploader = Uploader('sim', self.local, self.remote, self.params,
                                 lambda *line: self.logs.append(line), clocks,
                                 lambda progress: self.reports.append(replace(progress)))

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def until(self, moment):
        """Let the uploader work until the clock shows `moment`."""
        while self.now < moment:
            self.now += max(self.uploader.step(), 0.01)

    def close(self):
        self.bench.spool.close()
        self.uploader.close()


class MoodyStore(FolderStore):
    """A store that is away, or whose answers are halved, as long as it is told so."""

    away = False
    halves = 0  # of the next so many digests
    asked = 0

    def put_dir(self, *arguments, **options):
        self.asked += 1
        if self.away:
            raise StoreAwayError('no route to store')
        super().put_dir(*arguments, **options)

    def exists(self, rel):
        if self.away:
            raise StoreAwayError('no route to store')
        return super().exists(rel)

    def digest(self, rel):
        if self.halves:
            self.halves -= 1
            whole = self.local(rel)
            whole.write_bytes(whole.read_bytes()[:whole.stat().st_size // 2])
        return super().digest(rel)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


def test_an_episode_is_uploaded_confirmed_and_kept_here(world):
    world.bench.play()
    assert world.uploader.step() == 0.0
    path, = list_episodes(world.remote)
    assert list_episodes(world.local) == [path]
    assert read_meta(world.remote, path) == read_meta(world.local, path)
    assert world.reports[0].state is UploadState.UPLOADING
    assert world.reports[0].episode_id == 'ep-0001' and world.reports[0].pending_bytes > 1000
    assert (world.reports[-1].state, world.reports[-1].uploaded_episodes) == (UploadState.IDLE, 1)
    # What was confirmed no longer waits, in the very report that says so.
    assert world.reports[-1].pending_episodes == world.reports[-1].pending_bytes == 0
    assert world.uploader.step() == world.params.poll_period
    assert world.uploader.progress.pending_episodes == 0 and world.remote.asked == 1


def test_an_hour_without_the_store_loses_nothing_and_blocks_nothing(world):
    world.remote.away = True
    began = world.now
    waits = []
    for number in range(36):  # an episode every 100 s
        world.bench.play(id=f'ep-{number:02}')
        assert world.bench.reports[-1].state.name == 'IDLE', 'the recorder waits for nobody'
        while world.now < began + 100.0 * (number + 1):
            waits.append(world.uploader.step())
            world.now += waits[-1]
    assert world.now - began >= 3600.0
    assert waits[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300], 'back-off'
    assert max(waits) == world.params.retry_max and len(waits) < 30
    status = world.reports[-1]
    assert status.state is UploadState.RETRYING and 'no route to store' in status.reason
    assert status.failures == len(waits) and status.retry_in > 0
    assert len(list_episodes(world.local)) == 36 and list_episodes(world.remote) == []
    world.remote.away = False
    world.until(world.now + 60.0)
    assert list_episodes(world.remote) == list_episodes(world.local)
    assert world.reports[-1].uploaded_episodes == 36
    assert world.reports[-1].state is UploadState.IDLE and world.reports[-1].pending_bytes == 0


def test_a_store_that_keeps_half_a_file_is_sent_it_again_before_anything_is_confirmed(world):
    world.bench.play()
    world.remote.halves = 1
    assert world.uploader.step() > 0
    assert 'gives back other bytes' in world.reports[-1].reason
    assert list_episodes(world.remote) == [], 'what is half is not left visible'
    assert list_episodes(world.local), 'and stays here'
    world.uploader.step()
    path, = list_episodes(world.remote)
    bag = read_meta(world.local, path).bag
    assert world.remote.digest(f'{path}/{bag["file"]}') == bag['sha256']


def test_an_upload_that_was_cut_goes_on_where_it_stopped(world, monkeypatch):
    monkeypatch.setattr(folder_module, '_COPY_BYTES', 1000)
    world.bench.play(ticks=200)
    sent, real = [], world.uploader._pace

    def cut(size):
        if len(sent) == 30:
            sent.append(0)
            raise OSError('the cable was pulled')
        sent.append(size)
        real(size)

    world.uploader._pace = cut
    assert world.uploader.step() > 0 and 'cable' in world.reports[-1].reason
    assert list_episodes(world.remote) == []
    world.uploader.step()
    path, = list_episodes(world.remote)
    size = sum(file.stat().st_size for file in world.local.local(path).iterdir())
    assert sum(sent) == size, 'no byte was sent twice'


def test_the_upload_rate_is_kept(tmp_path):
    world = World(tmp_path, rate_limit=0.1)
    world.bench.play(ticks=400)
    began = world.now
    world.uploader.step()
    size = world.uploader.progress.uploaded_bytes
    assert size > 100_000
    last = max(file.stat().st_size for file in (tmp_path / 'remote').rglob('*.mcap'))
    assert world.now - began >= (size - last) / 1e5 - 1, 'a piece at a time, none ahead of its time'
    assert world.uploader.bytes_per_second == pytest.approx(size / 60.0)
    world.close()


def test_an_uploader_that_was_killed_asks_the_store_and_sends_nothing_twice(tmp_path):
    world = World(tmp_path)
    world.bench.play()
    path, = list_episodes(world.local)
    # Killed between the store's last byte and our record of it.
    FolderStore(tmp_path / 'remote').put_dir(world.local.local(path), path, META)
    moved = []
    world.uploader._on_moved = moved.append
    world.uploader.step()
    assert world.uploader._confirmed(path) and moved == []
    world.close()


def test_a_label_given_here_after_the_upload_reaches_the_store(world):
    world.bench.play()
    world.uploader.step()
    path, = list_episodes(world.local)
    relabelled = replace(read_meta(world.local, path), outcome='failure', labelled_by='ann')
    relabelled.write(world.local.local(path))
    world.uploader.step()
    assert read_meta(world.remote, path).outcome == 'failure'
    assert world.uploader.step() == world.params.poll_period, 'and is confirmed'


def test_confirmed_episodes_leave_by_age_and_the_others_never(tmp_path):
    world = World(tmp_path, keep_days=2.0)
    world.bench.play(id='ep-1')
    world.until(world.now + 10.0)
    world.remote.away = True
    world.bench.play(id='ep-2')
    world.until(world.now + 3 * DAY)
    world.remote.away = False
    world.until(world.now + 600.0)
    assert [path[-4:] for path in list_episodes(world.local)] == ['ep-2']
    assert [path[-4:] for path in list_episodes(world.remote)] == ['ep-1', 'ep-2']
    world.close()


def test_confirmed_episodes_leave_by_size_oldest_first(tmp_path):
    world = World(tmp_path, keep_gib=6e-4)  # 644 kB: two of the three
    for number in (1, 2, 3):
        world.bench.play(id=f'ep-{number}', ticks=70)
        world.until(world.now + 1.0)
    world.until(world.now + 300.0)
    kept = [path[-4:] for path in list_episodes(world.local)]
    sizes = [file.stat().st_size for file in (tmp_path / 'remote').rglob('*.mcap')]
    assert kept and kept == ['ep-1', 'ep-2', 'ep-3'][-len(kept):] and len(kept) < 3, sizes
    assert len(list_episodes(world.remote)) == 3
    world.close()


def test_a_damaged_episode_is_named_stays_and_holds_nobody_up(world):
    for number in (1, 2):
        world.bench.play(id=f'ep-{number}')
    path = list_episodes(world.local)[0]
    bag = world.local.local(path) / 'ep-1_0.mcap'
    data = bytearray(bag.read_bytes())
    data[5000] ^= 1
    bag.write_bytes(data)
    world.until(world.now + 10.0)
    assert [path[-4:] for path in list_episodes(world.remote)] == ['ep-2']
    assert world.reports[-1].state is UploadState.FAULT
    assert 'ep-1' in world.reports[-1].reason and 'sha256' in world.reports[-1].reason
    assert bag.is_file()


def test_another_episode_of_the_same_name_in_the_store_is_not_overwritten(world):
    world.bench.play()
    path, = list_episodes(world.local)
    other = replace(read_meta(world.local, path), task='other')
    world.remote.put(f'{path}/{META}', other.to_json())
    world.until(world.now + 10.0)
    assert world.reports[-1].state is UploadState.FAULT and 'already' in world.reports[-1].reason
    assert read_meta(world.remote, path).task == 'other' and list_episodes(world.local) == [path]


def test_a_second_uploader_of_one_robot_is_refused(world):
    with pytest.raises(SpoolError, match='two uploaders for one robot'):
        Uploader('sim', world.local, world.remote, world.params, print)


def test_a_record_that_is_not_whole_is_asked_for_again(world):
    world.bench.play()
    world.uploader.step()
    path, = list_episodes(world.local)
    record = world.uploader._record(path)
    assert json.loads(record.read_bytes())['store'] == world.remote.url
    record.write_bytes(b'{"episode')
    world.uploader._known.clear()
    world.uploader.step()
    assert json.loads(record.read_bytes())['store'] == world.remote.url


def test_a_link_in_an_episode_is_not_followed(world, tmp_path):
    world.bench.play()
    path, = list_episodes(world.local)
    (tmp_path / 'secret').write_text('secret')
    os.symlink(tmp_path / 'secret', world.local.local(path) / 'notes.txt')
    world.uploader.step()
    assert 'is a link' in world.uploader.progress.reason
    assert not world.remote.list()


@pytest.mark.parametrize('values, text', [
    (dict(store='', local_store='a'), "store: '' refused"),
    (dict(store='/a', local_store=''), "local_store: '' refused"),
    (dict(store='/a', local_store='/a'), 'it is the store itself'),
    (dict(store='/a', local_store='s3://b'), 'a bucket was refused'),
    (dict(store='/a', local_store='/b', retry_min=9.0, retry_max=1.0), 'retry_max: 1.0'),
])
def test_parameters_that_make_no_sense_are_refused(values, text):
    with pytest.raises(ParamError, match=text):
        UploaderParams(**values)

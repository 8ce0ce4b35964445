# SPDX-License-Identifier: Apache-2.0
"""Disks that fill up: what fitted is kept, nothing half is shown, and room puts everything right.

On a file system of 1 MiB where one may be mounted; otherwise the kernel limits what the process may
write into one file. The checks are the same.
"""

import contextlib
import errno
import os
from pathlib import Path
import resource
import shutil
import signal
import subprocess
import sys

import pytest

from lwd_core.episode import EpisodeBagReader, list_episodes, read_meta
from lwd_core.episode.mcap_file import HashedFile
from lwd_core.store import FolderStore
from lwd_logger.recorder import State

sys.path.insert(0, str(Path(__file__).parent))
from support import Bench, ends

DISK = 1 << 20
NO_ROOM = ('No space left', 'File too large')


class TmpfsDisk:
    """A real file system of 1 MiB."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        mount = ['mount', '-t', 'tmpfs', '-o', f'size={DISK}', 'tmpfs', str(path)]
        done = subprocess.run(mount, capture_output=True, text=True)
        if done.returncode:
            raise PermissionError(done.stderr)

    @contextlib.contextmanager
    def only_here(self):
        """Other folders have room as they are."""
        yield

    def make_room(self):
        subprocess.run(['mount', '-o', 'remount,size=64m', str(self.path)], check=True)

    def close(self):
        subprocess.run(['umount', '-l', str(self.path)], check=True)


class LimitedFiles:
    """No file of this process may grow beyond half of the disk: any user may set that."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        self._signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._bytes = DISK // 2
        self._limit()

    def _limit(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._bytes, self._limits[1]))

    @contextlib.contextmanager
    def only_here(self):
        """Limit nothing but what is written inside."""
        self._limit()
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)

    def make_room(self):
        self._bytes = self._limits[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)

    def close(self):
        self.make_room()
        signal.signal(signal.SIGXFSZ, self._signal)


@pytest.fixture(params=['tmpfs', 'limit'])
def disk(request, tmp_path):
    if request.param == 'limit':
        disk = LimitedFiles(tmp_path / 'small')
    else:
        try:
            disk = TmpfsDisk(tmp_path / 'small')
        except PermissionError:  # nothing is left out: the other parameter checks the same
            disk = LimitedFiles(tmp_path / 'limited')
    yield disk
    disk.close()


def record_until_full(bench, **options):
    """Record until the disk is full; return how many messages were given to the recorder."""
    fed = 0

    def feed_and_flush(topic, message):
        nonlocal fed
        fed += bench.recorder._open is not None
        bench.now += 0.1
        bench.recorder.tick()
        return False

    bench.play(ticks=600, until=feed_and_flush, **options)
    return fed


def kept(store):
    path, = list_episodes(store)
    meta = read_meta(store, path)
    bag = EpisodeBagReader(store.local(path) / meta.bag['file'])
    assert len(bag.raw()) == sum(topic['count'] for topic in meta.topics.values())
    assert meta.recovered and meta.outcome == 'unlabelled', 'its end is missing'
    return len(bag.raw())


def test_a_disk_that_fills_up_while_recording_loses_nothing_that_fitted(tmp_path, disk):
    store = FolderStore(tmp_path / 'store')
    bench = Bench(disk.path, store=store, flush_period=0.05)
    fed = record_until_full(bench)
    faults = [report for report in bench.reports if report.state is State.FAULT]
    assert any(text in faults[0].reason for text in NO_ROOM) and 'make room' in faults[0].reason
    bench.spool.close()
    if list_episodes(store):  # the limit is one of files: the recovered bag fitted again
        assert 500 < kept(store) < fed
        return
    disk.make_room()
    again = Bench(disk.path, store=store)
    again.recorder.recover()
    assert 500 < kept(store) < fed
    again.spool.close()


def test_recovery_on_a_full_disk_takes_no_room_and_loses_nothing(tmp_path, disk):
    store = FolderStore(tmp_path / 'store')
    bench = Bench(disk.path, store=store, flush_period=0.05)
    record_until_full(bench)
    bench.spool.close()
    if list_episodes(store):
        return  # one file fitted: what that means for the recording is tested above
    before = sorted(path.name for path in (disk.path / 'spool').rglob('*'))
    for _ in range(2):
        again = Bench(disk.path, store=store)
        again.recorder.recover()
        assert 'nothing is lost' in again.said('error')[0]
        again.spool.close()
        assert sorted(path.name for path in (disk.path / 'spool').rglob('*')) == before
    disk.make_room()
    again = Bench(disk.path, store=store)
    again.recorder.recover()
    assert kept(store) > 500
    again.spool.close()


def test_a_store_without_room_takes_nothing_half_and_gets_all_later(tmp_path, disk):
    class OtherDisk(FolderStore):
        """On another file system than the spool, whatever tmp_path is on."""

        def put_dir(self, source, rel, marker, move=False, pace=None):
            with disk.only_here():
                super().put_dir(source, rel, marker, move=False, pace=pace)
            shutil.rmtree(source)

    store = OtherDisk(disk.path / 'store')
    with disk.only_here():
        pass  # the spool has room from here on
    bench = Bench(tmp_path / 'robot', store=store)
    bench.play(ticks=600)
    assert list_episodes(store) == [], 'an episode of 2 MB does not fit'
    assert any(text in bench.said('error')[0] for text in NO_ROOM)
    assert 'kept in' in bench.said('error')[0]
    disk.make_room()
    bench.now += 60.0
    bench.recorder.tick()
    path, = list_episodes(store)
    assert read_meta(store, path).outcome == 'success'
    bench.spool.close()


class Failing:
    """A file object that takes `room` bytes and then says that the disk is full."""

    def __init__(self, monkeypatch, room):
        self.room = room
        real = HashedFile._write

        def write(file, pieces):
            size = sum(map(len, pieces))
            if size > self.room:
                os.write(file._handle, b''.join(pieces)[:self.room])  # a disk takes what fits
                self.room = 0
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.room -= size
            real(file, pieces)

        monkeypatch.setattr(HashedFile, '_write', write)


@pytest.mark.parametrize('room', [0, 7, 5000, 30_000, 60_000, 80_000, 90_000])
def test_wherever_the_disk_fills_up_nothing_half_is_shown_and_room_mends_it(
        tmp_path, monkeypatch, room):
    """From the first byte of the file over chunks to its index."""
    with monkeypatch.context() as patch:
        Failing(patch, room)
        bench = Bench(tmp_path, flush_period=0.05)

        def flush(topic, message):
            bench.now += 0.1
            bench.recorder.tick()
            return False

        bench.play(until=flush)
        assert list_episodes(bench.store) == []
        assert any(report.state is State.FAULT for report in bench.reports)
        bench.spool.close()
    again = Bench(tmp_path)
    again.recorder.recover()
    assert len(list_episodes(again.store)) == (room > 7000), 'all that was whole'
    again.play(id='ep-2')
    assert list_episodes(again.store)[-1].endswith('ep-2'), 'the recorder goes on'
    again.spool.close()


def test_a_running_bag_stops_before_the_disk_is_full(tmp_path, monkeypatch):
    bench = Bench(tmp_path, disk_warn_mib=400, disk_stop_mib=400)
    free = 500 << 20
    monkeypatch.setattr(bench.spool, 'disk_free', lambda: free)
    bench.play(until=lambda topic, message: topic == 'executed_action' and message.tick == 10)
    free = 99 << 20
    bench.recorder.tick()
    assert bench.reports[-1].state is State.FAULT
    assert '99 MiB free' in bench.reports[-1].reason and '100 MiB' in bench.reports[-1].reason
    written = bench.recorder._open.writer.messages
    bench.play(until=ends)
    assert bench.recorder._open.writer.messages == written, 'never fill'
    bench.play()
    path = list_episodes(bench.store)[0]
    meta = read_meta(bench.store, path)
    assert meta.outcome == 'unlabelled' and '99 MiB free' in meta.detail and not meta.recovered
    bench.spool.close()


def test_a_bag_is_bounded_in_size(tmp_path):
    bench = Bench(tmp_path, bag_max_gib=0.001)  # 1.07 MB

    def flush(topic, message):
        bench.now += 0.1
        bench.recorder.tick()
        return False

    bench.play(ticks=600, until=flush)
    path, = list_episodes(bench.store)
    meta = read_meta(bench.store, path)
    assert 1e6 < meta.bag['bytes'] < 1.3e6 and 'bag_max_gib' in meta.detail
    assert meta.outcome == 'unlabelled'
    bench.spool.close()


@pytest.fixture(autouse=True)
def roomy(tmp_path):
    """Say it where the machine itself has no room: nothing here would mean anything."""
    assert shutil.disk_usage(tmp_path).free > 100 << 20, 'these tests need 100 MiB themselves'

# SPDX-License-Identifier: Apache-2.0
"""Ingest of real bags: in several processes, killed at any moment, and with everything bad."""

import json
import os
from pathlib import Path
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import cv2
from learner_stores import record_into, ROBOT
import numpy as np
import pytest

from lwd_core.flow.trunk import build_trunk, KeypointTrunk, TrunkConfig
from lwd_core.observation import ObservationSpec
from lwd_core.store import FolderStore, StoreError
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.index import EpisodeIndex, IndexFileError, IndexRow
from lwd_learner.ingest import Ingest, IngestSettings, WorkDirError

STATE = ObservationSpec.for_robot(ROBOT, 'state')
SETTINGS = IngestSettings(ROBOT, ('place',), STATE)


def jpeg(camera, tick):
    image = np.full((96, 96, 3), 40 + (len(camera) * 7 + tick) % 150, np.uint8)
    return cv2.imencode('.jpg', image)[1].tobytes()


@pytest.fixture(scope='module')
def twelve(tmp_path_factory):
    """Return a store of twelve bags with cameras, every third a failure."""
    store = tmp_path_factory.mktemp('twelve') / 'store'
    for number in range(12):
        record_into(store, f'e{number:02}', seed=number, ticks=20, jpeg=jpeg,
                    outcome='failure' if number % 3 == 0 else 'success')
    return store


def trunk():
    config = TrunkConfig(outputs=('a', 'b'), channels=4, hidden=8)
    import torch
    torch.manual_seed(0)
    return build_trunk(KeypointTrunk(config).to_dict())


def ids(episodes):
    return [one.episode_id for one in episodes]


def assert_same(one: EpisodeArrays, other: EpisodeArrays):
    assert one.episode_id == other.episode_id and one.success == other.success
    assert set(one.inputs) == set(other.inputs)
    for name in one.inputs:
        np.testing.assert_array_equal(one.inputs[name], other.inputs[name])
    np.testing.assert_array_equal(one.actions, other.actions)


def test_several_processes_convert_as_one_does_bit_for_bit_in_the_same_order(twelve, tmp_path):
    settings = IngestSettings(ROBOT, ('place',), ObservationSpec.for_robot(ROBOT, 'pixels'),
                              trunk=trunk())
    alone = Ingest(FolderStore(twelve), tmp_path / 'alone', settings, workers=0)
    many = Ingest(FolderStore(twelve), tmp_path / 'many', settings, workers=2)
    expected, found = list(alone.poll()), list(many.poll())
    assert ids(found) == ids(expected) == [f'e{number:02}' for number in range(12)]
    for one, other in zip(expected, found):
        assert one.inputs['features'].shape == (20, 2)
        assert_same(one, other)
    assert ids(many.poll()) == [] and many.index.used() == alone.index.used()


INGEST = '''
import sys
sys.path[:0] = {paths!r}
from learner_stores import ROBOT
from lwd_core.observation import ObservationSpec
from lwd_core.store import FolderStore
from lwd_learner.ingest import Ingest, IngestSettings
from pathlib import Path
ingest = Ingest(FolderStore({store!r}), Path({work!r}), IngestSettings(
    ROBOT, ('place',), ObservationSpec.for_robot(ROBOT, 'state')), workers={workers})
for one in ingest.poll():
    print(one.episode_id, flush=True)
print('done', flush=True)
'''


@pytest.mark.parametrize('workers', [0, 2])
def test_killed_at_random_moments_each_episode_is_ingested_exactly_once(twelve, tmp_path, workers):
    work, dice = tmp_path / 'work', random.Random(workers)
    script = INGEST.format(paths=[str(Path(__file__).parent)], store=str(twelve), work=str(work),
                           workers=workers)
    kills = 0
    for _ in range(60):
        process = subprocess.Popen([sys.executable, '-c', script], text=True,
                                   stdout=subprocess.PIPE, start_new_session=True)
        # the first episode shows that it is at work; then it dies anywhere in the next ones
        line = process.stdout.readline()
        if line != 'done\n':
            time.sleep(dice.uniform(0.0, 0.05))
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        rest = process.communicate()[0]
        assert _group_ends(process.pid), 'a worker outlived the learner that started it'
        if 'done' in (line + rest) and process.returncode == 0:
            break
    else:
        pytest.fail('never done')
    assert kills >= 1
    reference = Ingest(FolderStore(twelve), tmp_path / 'reference', SETTINGS, workers=0)
    expected = {one.episode_id: one for one in reference.poll()}
    again = Ingest(FolderStore(twelve), work, SETTINGS, workers=0)
    restored = list(again.restore())
    assert sorted(ids(restored)) == sorted(expected) and ids(again.poll()) == []
    for one in restored:
        assert_same(one, expected[one.episode_id])
    with sqlite3.connect(work / 'index.sqlite') as database:
        rows = database.execute('SELECT id, verdict FROM episodes').fetchall()
    assert sorted(rows) == [(f'e{number:02}', 'used') for number in range(12)]
    arrays = [path for path in (work / 'arrays').iterdir() if path.suffix == '.safetensors']
    assert len(arrays) == 12


def _group_ends(group, patience=10.0):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


# -- bad input, each by its name


def spoil(tmp_path, how):
    """Record a good episode and a bad one before it; return the store's path."""
    store = tmp_path / 'store'
    record_into(store, 'a_bad')
    record_into(store, 'b_good', seed=1)
    folder = store / 'episodes/robot1/2026-01-01/a_bad'
    how(folder, folder / 'a_bad_0.mcap')
    return store


def resealed(folder, bag):
    """Write episode.json for the bag as it is now: whoever broke it did it before the digest."""
    from lwd_core.hashing import sha256_file
    path = folder / 'episode.json'
    meta = json.loads(path.read_text())
    meta['bag'] = {'file': bag.name, 'sha256': sha256_file(bag), 'bytes': bag.stat().st_size}
    path.write_text(json.dumps(meta))


def truncated(folder, bag):
    bag.write_bytes(bag.read_bytes()[:-1000])


def truncated_before_its_digest(folder, bag):
    truncated(folder, bag)
    resealed(folder, bag)


def bit_flipped(folder, bag):
    data = bytearray(bag.read_bytes())
    data[len(data) // 2] ^= 4
    bag.write_bytes(data)


def bit_flipped_before_its_digest(folder, bag):
    bit_flipped(folder, bag)
    resealed(folder, bag)


def empty(folder, bag):
    """A whole MCAP file without a message."""
    from mcap.writer import Writer
    with open(bag, 'wb') as file:
        writer = Writer(file)
        writer.start('ros2')
        writer.finish()
    resealed(folder, bag)


def zero_byte(folder, bag):
    bag.write_bytes(b'')
    resealed(folder, bag)


def wrong_extension(folder, bag):
    """A picture that calls itself a bag."""
    bag.write_bytes(jpeg('head', 1) * 10)
    resealed(folder, bag)


def deleted(folder, bag):
    bag.unlink()


def half_episode_json(folder, bag):
    path = folder / 'episode.json'
    path.write_bytes(path.read_bytes()[:300])


def another_robots(folder, bag):
    path = folder / 'episode.json'
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, 'robot_digest': 'x' * 64}))


@pytest.mark.parametrize(('how', 'reason'), [
    (truncated, 'must have'), (truncated_before_its_digest, 'cut off|damaged|is cut'),
    (bit_flipped, 'sha256 differs'), (bit_flipped_before_its_digest, 'checksum|damaged|differs'),
    (empty, '0 ticks while running'), (zero_byte, 'has 0 bytes'),
    (wrong_extension, 'does not start as an MCAP file'), (deleted, 'is not there'),
    (half_episode_json, 'is not JSON'), (another_robots, 'robot specification'),
])
def test_bad_bag_is_refused_with_its_reason_and_the_next_is_used(tmp_path, how, reason):
    import re
    ingest = Ingest(FolderStore(spoil(tmp_path, how)), tmp_path / 'work', SETTINGS)
    assert ids(ingest.poll()) == ['b_good']
    (row,) = ingest.index.rejected()
    assert row.id == 'a_bad' and re.search(reason, row.reason), row.reason


def test_clock_jump_back_is_refused_and_forward_is_a_gap(tmp_path):
    store = tmp_path / 'store'
    record_into(store, 'back', edit=_jump(-0.5))
    record_into(store, 'forward', edit=_jump(+2.0), seed=1)
    _extend(store / 'episodes/robot1/2026-01-01/forward', 2.0)
    ingest = Ingest(FolderStore(store), tmp_path / 'work', SETTINGS)
    (one,) = ingest.poll()
    assert one.episode_id == 'forward' and list(np.flatnonzero(one.gaps)) == [14]
    (row,) = ingest.index.rejected()
    assert 'the clock jumped back' in row.reason and row.cause == 'clock'
    assert 'gaps between ticks' in ingest.index.used()[0].reason


def _jump(seconds):
    """Return an edit that shifts every stamp from tick 15 on."""
    from dataclasses import replace

    from lwd_core.episode.synthetic import START_NS

    def edit(topic, message):
        header = getattr(message, 'header', None)
        if header is None or topic == 'episode':
            return message
        stamp = header.stamp.sec * 10**9 + header.stamp.nanosec
        if stamp < START_NS + 15 * ROBOT.period_ns:
            return message
        stamp += int(seconds * 1e9)
        moved = replace(header.stamp, sec=stamp // 10**9, nanosec=stamp % 10**9)
        message = replace(message, header=replace(header, stamp=moved))
        if topic == 'policy/chunk':
            message = replace(message,
                              observation_stamps=[moved] * len(message.observation_stamps))
        return message
    return edit


def _extend(folder, seconds):
    path = folder / 'episode.json'
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, 'ended_ns': meta['ended_ns'] + int(seconds * 1e9)}))


def test_duplicate_stamps_and_cameras_out_of_order_change_nothing_that_is_learned(tmp_path):
    """The bag holds joint samples twice, and camera frames in another order."""
    from lwd_core.episode import EpisodeBagReader, read_episode
    from lwd_core.episode.recover import _Definitions
    from lwd_core.episode.writer import EpisodeBagWriter
    store = tmp_path / 'store'
    record_into(store, 'e', jpeg=jpeg)
    folder = store / 'episodes/robot1/2026-01-01/e'
    pixels = ObservationSpec.for_robot(ROBOT, 'pixels')
    before = read_episode(folder, ROBOT, pixels)
    expected = [before.observation(t) for t in range(len(before))]
    reader = EpisodeBagReader(folder / 'e_0.mcap')
    messages = [(reader.topic_of(m), bytes(m.data), m.log_ns) for m in reader.raw()]
    cameras = [m for m in messages if '/camera/' in m[0]]
    shuffled = iter(sorted(cameras, key=lambda m: random.Random(str(m)).random()))
    writer = EpisodeBagWriter(folder / 'new', 'e', _Definitions(reader))
    for topic, spec in reader.specs().items():
        writer.add_topic(spec, topic)
    for topic, data, log_ns in messages:
        if '/camera/' in topic:
            topic, data, _ = next(shuffled)
        writer.write(topic, data, log_ns)
        if topic.endswith('joint_states'):
            writer.write(topic, data, log_ns)
    writer.close().path.replace(folder / 'e_0.mcap')
    resealed(folder, folder / 'e_0.mcap')
    after = read_episode(folder, ROBOT, pixels)
    assert len(after) == len(before)
    for t, wanted in enumerate(expected):
        seen = after.observation(t)
        np.testing.assert_array_equal(seen.joints, wanted.joints)
        for camera in ROBOT.camera_names:
            np.testing.assert_array_equal(seen.images[camera], wanted.images[camera])
    text = '; '.join(after.audit.warnings)
    assert 'came out of order' in text and 'repeat a stamp' in text


def test_a_bag_deleted_while_being_read_is_read_to_its_end(tmp_path):
    from lwd_core.episode import read_episode
    store = tmp_path / 'store'
    record_into(store, 'e', jpeg=jpeg)
    folder = store / 'episodes/robot1/2026-01-01/e'
    data = read_episode(folder, ROBOT, ObservationSpec.for_robot(ROBOT, 'pixels'))
    (folder / 'e_0.mcap').unlink()  # frames are still to be decoded
    assert data.observation(5).images['head'].mean() == pytest.approx(jpeg_level(5), abs=3)


def jpeg_level(tick):
    return 40 + (len('head') * 7 + tick) % 150


class HalfStore(FolderStore):
    """A store that returns half of every bag the first `times` times."""

    def __init__(self, path, cache, times):
        super().__init__(path)
        self.cache, self.times = cache, times

    def local(self, rel):
        folder = super().local(rel)
        if not folder.is_dir() or not rel.count('/') == 3:
            return folder
        copy = self.cache / rel
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        if self.times > 0:
            self.times -= 1
            for bag in copy.glob('*.mcap'):
                bag.write_bytes(bag.read_bytes()[:bag.stat().st_size // 2])
        return copy


def test_half_a_file_from_the_store_is_refused_and_looked_at_again(tmp_path):
    record_into(tmp_path / 'store', 'e')
    store = HalfStore(tmp_path / 'store', tmp_path / 'cache', times=1)
    ingest = Ingest(store, tmp_path / 'work', SETTINGS)
    assert ids(ingest.poll()) == [] and ingest.rejected == 1
    assert ingest.index.rejected()[0].cause == 'truncated'
    assert ids(ingest.poll()) == []
    assert ingest.reconsider() == 1 and ids(ingest.poll()) == ['e'] and ingest.rejected == 0


def test_a_file_that_stays_broken_is_looked_at_three_times(tmp_path):
    record_into(tmp_path / 'store', 'e')
    ingest = Ingest(HalfStore(tmp_path / 'store', tmp_path / 'cache', 99), tmp_path / 'w', SETTINGS)
    looks = [len(ids(ingest.poll())) + ingest.reconsider() for _ in range(6)]
    assert looks == [1, 1, 0, 0, 0, 0]
    assert ingest.index.rejected()[0].attempts == 3


def test_a_failing_disk_is_no_verdict_about_the_bag(tmp_path, monkeypatch):
    record_into(tmp_path / 'store', 'e')
    ingest = Ingest(FolderStore(tmp_path / 'store'), tmp_path / 'work', SETTINGS)
    monkeypatch.setattr('lwd_learner.episodes.os.replace',
                        lambda *paths: (_ for _ in ()).throw(OSError(28, 'No space left')))
    with pytest.raises(OSError, match='No space'):
        ids(ingest.poll())
    monkeypatch.undo()
    assert ids(ingest.poll()) == ['e'] and ingest.rejected == 0


def test_the_same_bag_under_another_id_is_refused(tmp_path):
    store = tmp_path / 'store'
    record_into(store, 'e1')
    source = store / 'episodes/robot1/2026-01-01/e1'
    copy = source.with_name('e2')
    shutil.copytree(source, copy)
    meta = json.loads((copy / 'episode.json').read_text())
    (copy / 'episode.json').write_text(json.dumps({**meta, 'id': 'e2'}))
    ingest = Ingest(FolderStore(store), tmp_path / 'work', SETTINGS)
    assert ids(ingest.poll()) == ['e1']
    assert 'the bag of id e2' in ingest.index.rejected()[0].reason
    assert 'was ingested already, from' in ingest.index.rejected()[0].reason


def test_two_learners_on_one_index_the_second_is_refused_in_its_own_process_too(tmp_path):
    first = Ingest(FolderStore(tmp_path / 'store'), tmp_path / 'work', SETTINGS)
    script = INGEST.format(paths=[str(Path(__file__).parent)], store=str(tmp_path / 'store'),
                           work=str(tmp_path / 'work'), workers=0)
    second = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert second.returncode != 0 and 'is used by another learner' in second.stderr
    with pytest.raises(WorkDirError, match='another learner'):
        Ingest(FolderStore(tmp_path / 'store'), tmp_path / 'work', SETTINGS)
    first.close()


def test_a_bag_that_ends_its_worker_is_refused_and_the_others_are_used(tmp_path, monkeypatch):
    """A bag cut under its mapping ends a process with SIGBUS: here a worker ends itself."""
    for number in range(8):
        record_into(tmp_path / 'store', f'e{number}', seed=number, ticks=10)
    killer = tmp_path / 'killer'
    killer.mkdir()
    (killer / 'sitecustomize.py').write_text(
        'import os, signal, lwd_learner.conversion as c\n'
        'inner = c.read_episode\n'
        'def read(folder, *rest):\n'
        "    if folder.name == 'e3': os.kill(os.getpid(), signal.SIGBUS)\n"
        '    return inner(folder, *rest)\n'
        'c.convert_job.__defaults__ = (read,)\n')
    monkeypatch.setattr(sys, 'path', [str(killer), *sys.path])
    ingest = Ingest(FolderStore(tmp_path / 'store'), tmp_path / 'work', SETTINGS, workers=2)
    assert ids(ingest.poll()) == [f'e{n}' for n in range(8) if n != 3]
    (row,) = ingest.index.rejected()
    assert row.id == 'e3' and f'ended 2 workers (signal {signal.SIGBUS:d})' in row.reason


def test_an_index_of_an_older_version_is_brought_up_to_date(tmp_path):
    path = tmp_path / 'index.sqlite'
    with sqlite3.connect(path) as database:
        database.executescript('''
            CREATE TABLE episodes (sequence INTEGER PRIMARY KEY AUTOINCREMENT,
              id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, path TEXT NOT NULL UNIQUE,
              task TEXT NOT NULL DEFAULT '', origin TEXT NOT NULL DEFAULT '', verdict TEXT NOT NULL,
              reason TEXT NOT NULL DEFAULT '', ticks INTEGER NOT NULL DEFAULT 0, success INTEGER,
              ingested REAL NOT NULL);
            INSERT INTO episodes (id, digest, path, verdict, ticks, success, ingested)
              VALUES ('e1', 'd', 'episodes/r/d/e1', 'used', 7, 1, 0.0);''')
    index = EpisodeIndex(path)
    assert index.used() == [IndexRow('e1', 'd', 'episodes/r/d/e1', ticks=7, success=True)]
    index.record(IndexRow('e2', 'd2', 'p2', bag='abc', success=False))
    assert index.find_bag('abc').id == 'e2' and index.find_bag('') is None
    index.close()
    assert len(EpisodeIndex(path).used()) == 2


@pytest.mark.parametrize(('spoil', 'text'), [
    (lambda path: path.write_bytes(b'not a database at all' * 99), 'is not an index .* move it'),
    (lambda path: sqlite3.connect(path).execute('PRAGMA user_version = 99').connection.commit(),
     'has version 99, this software knows'),
])
def test_an_index_that_cannot_be_used_is_refused_with_the_next_step(tmp_path, spoil, text):
    path = tmp_path / 'index.sqlite'
    spoil(path)
    with pytest.raises(IndexFileError, match=text):
        EpisodeIndex(path)


def test_a_store_that_does_not_answer_is_no_verdict_about_the_episode(tmp_path):
    record_into(tmp_path / 'store', 'e')
    store = FolderStore(tmp_path / 'store')
    ingest = Ingest(store, tmp_path / 'work', SETTINGS)

    def fail(rel):
        raise StoreError('the store does not answer')
    store.get, answer = fail, store.get
    assert ids(ingest.poll()) == [] and ingest.index.rejected() == []
    store.get = answer
    assert ids(ingest.poll()) == ['e']

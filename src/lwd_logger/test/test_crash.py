# SPDX-License-Identifier: Apache-2.0
"""Kill the recorder 200 times at random moments: no flushed message and no whole bag is lost."""

from collections import defaultdict
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import tempfile
import time

from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
import pytest
from rosbags.rosbag2 import Reader

from lwd_core.episode import list_episodes, read_meta
from lwd_core.episode.meta import META
from lwd_core.hashing import sha256_file
from lwd_core.store import FolderStore

sys.path.insert(0, str(Path(__file__).parent))
from support import Bench

ROUNDS = 200
LONGEST = 0.06  # s; an episode takes about half of it
PATIENCE = 60.0  # s; only a failure takes so long
HERE = Path(__file__).parent


class Recorders:
    """Starts recorders in a process that has imported everything once, and kills them."""

    def __init__(self):
        self._server = subprocess.Popen(
            [sys.executable, str(HERE / 'crash_child.py')], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(p for p in sys.path if p)})

    def run(self, folder, seconds, recovered, until=lambda: True):
        """Let a recorder live for a while, after its recovery or in it; return how it ended."""
        self._server.stdin.write(f'{folder}\n')
        self._server.stdin.flush()
        pid = int(self._server.stdout.readline())
        deadline = time.monotonic() + PATIENCE
        while (recovered and not (folder / f'up-{pid}').exists()) or not until():
            assert time.monotonic() < deadline, 'the recorder does not finish what it began'
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        return int(self._server.stdout.readline())

    def close(self):
        self._server.stdin.close()
        assert self._server.wait(10) == 0


@pytest.fixture
def folder(tmp_path):
    """Return a folder in memory where there is one: a kill needs no disk, 200 fsyncs do."""
    memory = Path('/dev/shm')
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as path:
        yield Path(path)


@pytest.fixture
def recorders():
    recorders = Recorders()
    yield recorders
    recorders.close()


def acknowledged(folder):
    """Return how many messages of every episode were flushed before the kill."""
    counts = defaultdict(int)
    for line in (folder / 'acked').read_text().splitlines():
        name, count = line.split()
        counts[name] = max(counts[name], int(count))
    return counts


def read_with_everything(folder):
    """Return the stamps of a visible bag as rosbags and as mcap read it; both must agree."""
    with Reader(folder) as reader:
        by_rosbags = [stamp for _, stamp, _ in reader.messages()]
    with open(next(folder.glob('*.mcap')), 'rb') as file:
        by_mcap = [message.log_time for _, _, message in make_reader(file).iter_messages()]
    assert by_rosbags == by_mcap
    return by_rosbags


def check_visible(store, path, flushed):
    """Check that what can be seen is whole and holds what had been flushed."""
    meta = read_meta(store, path)
    folder = store.local(path)
    bag = folder / meta.bag['file']
    assert sorted(os.listdir(folder)) == [bag.name, META, 'metadata.yaml']
    assert sha256_file(bag) == meta.bag['sha256']
    count = len(read_with_everything(folder))
    assert count == sum(topic['count'] for topic in meta.topics.values())
    assert count >= flushed, f'{path}: {flushed} messages were flushed, {count} are there'
    return meta


def check_partial(path, flushed):
    """Check that other people's tools find every flushed message in what was left behind."""
    found = 0
    with open(path, 'rb') as file:
        try:
            for record in StreamReader(file, emit_chunks=False).records:
                found += type(record).__name__ == 'Message'
        except Exception as error:  # the cut itself: mcap has many ways to say it
            assert found or not flushed, error
    assert found >= flushed, f'{path}: {flushed} messages were flushed, mcap reads {found}'


@pytest.mark.timeout(600)
def test_200_kills_at_random_moments_lose_no_flushed_message_and_show_no_half_episode(
        folder, recorders):
    moments = random.Random(0)
    store = FolderStore(folder / 'store')
    checked, recovered, left = set(), 0, 0

    def closed():
        """Tell whether one was closed since the last round: a slow machine needs the time."""
        return any(not read_meta(store, path).recovered
                   for path in set(list_episodes(store)) - checked)
    for number in range(ROUNDS):
        last = {'until': closed} if number == ROUNDS - 1 else {}
        ended = recorders.run(
            folder, moments.uniform(0.0, LONGEST), recovered=number % 4 > 0, **last)
        assert ended == -signal.SIGKILL
        flushed = acknowledged(folder) if (folder / 'acked').exists() else {}
        for partial in (folder / 'spool').glob('ep-*/ep-*.partial'):
            check_partial(partial, flushed.get(partial.parent.name, 0))
            left += 1
        for path in set(list_episodes(store)) - checked:
            recovered += check_visible(store, path, flushed.get(path.split('/')[-1], 0)).recovered
            checked.add(path)
    bench = Bench(folder)  # the recorder that is started in the end recovers the last one
    bench.recorder.recover()
    bench.spool.close()
    flushed = acknowledged(folder)
    for path in set(list_episodes(store)) - checked:
        recovered += check_visible(store, path, flushed[path.split('/')[-1]]).recovered
        checked.add(path)
    missing = {name for name, count in flushed.items() if count} - {
        path.split('/')[-1] for path in checked}
    assert not missing, f'flushed messages, and no episode: {sorted(missing)}'
    # The test tests something: bags were cut, bags were recovered, and others were closed.
    print(f'{left} bags cut, {recovered} recovered, {len(checked)} episodes in all')
    assert left > ROUNDS / 10 and recovered > ROUNDS / 10 and len(checked) > recovered

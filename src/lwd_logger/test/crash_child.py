# SPDX-License-Identifier: Apache-2.0
"""Recorders for the crash test: one warm process forks one recorder a line and lets it be killed.

Reads `<folder>` lines; answers each with the pid of a recorder that records synthetic episodes at
full speed into it, for ever. What is with the operating system is acknowledged in `<folder>/acked`:
one line `<episode> <messages>` after every flush, written as the recorder flushes.
"""

from dataclasses import replace
import itertools
import os
from pathlib import Path
import sys
import tempfile

sys.path.insert(0, str(Path(__file__).parent))
from support import Bench, DEFINITIONS, MESSAGES, ROBOT, script, SPECS

from lwd_core.episode.synthetic import Recipe
from lwd_core.store import FolderStore
from lwd_logger.config import RecorderParams
from lwd_logger.preroll import Received
from lwd_logger.recorder import Clocks, Recorder
from lwd_logger.spool import Spool

TICKS = 40
FLUSH_EVERY = 23  # messages; not a divisor of anything
IMAGE = os.urandom(30_000)  # beyond the size from which messages are not copied


def prepared():
    """Return an episode's messages, serialised once: the recorder is what is to be fast."""
    recipe = Recipe(id='ep', ticks=TICKS, jpeg=lambda camera, tick: IMAGE[tick:])
    return [(log_ns, topic, message, MESSAGES.serialize(message))
            for log_ns, topic, message in script(ROBOT, recipe, MESSAGES)]


def record_for_ever(folder, messages):
    """Record episode after episode until killed."""
    ack = os.open(folder / 'acked', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    store = FolderStore(folder / 'store')
    spool = Spool(folder / 'spool', store, lambda level, text: None)
    moment = [0.0]
    clocks = Clocks(lambda: moment[0], lambda: '2026-01-02T03:04:05.000+00:00')
    params = RecorderParams(disk_warn_mib=0, disk_stop_mib=0, retry_period=3600.0)
    recorder = Recorder('sim', ROBOT, SPECS, params, spool, DEFINITIONS, lambda status: None,
                        lambda level, text: None, 'sim', clocks)
    recorder.recover()
    (folder / f'up-{os.getpid()}').touch()
    for number in itertools.count():
        name = f'ep-{os.getpid()}-{number}'
        for log_ns, topic, message, data in messages:
            if topic == 'episode':
                data = MESSAGES.serialize(replace(message, episode_id=name))
            recorder.handle(Received(topic, data, log_ns, log_ns, 0))
            bag = recorder._open
            if bag is not None and bag.writer.messages % FLUSH_EVERY == 0:
                moment[0] += 1.0
                recorder.tick()  # flushes
                os.write(ack, f'{name} {bag.writer.messages}\n'.encode())


def warm_up(messages):
    """Recover once, so that the forks need not make the decoders that recovery reads with."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for log_ns, topic, _, data in messages[:40]:
            bench.recorder.handle(Received(topic, data, log_ns, log_ns, 0))
        bench.recorder._flush()
        bench.spool.close()
        again = Bench(Path(folder))
        again.recorder.recover()
        again.spool.close()
        assert again.store.list(), 'nothing was recovered'


def main():
    """Serve until the input ends."""
    messages = prepared()
    warm_up(messages)
    for line in sys.stdin:
        folder = Path(line.strip())
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            try:
                record_for_ever(folder, messages)
            finally:
                os._exit(3)  # not by an exception: that would be a failure of the test
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == '__main__':
    main()

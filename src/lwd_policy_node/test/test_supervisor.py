# SPDX-License-Identifier: Apache-2.0
import pytest

from lwd_policy_node.checkpoints import Candidate
from lwd_policy_node.loading import LoadRequest
from lwd_policy_node.supervisor import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    RELOAD_PAUSE_S,
    Supervisor,
)
from lwd_policy_node.wire import Frame

LOADED = dict(step=1, horizon=16, mode='state', cameras=[], image_size=[8, 6], backend='fake',
              warm_s=0.1)


class Worker:
    """A worker that only notes what it is told."""

    def __init__(self):
        self.starts, self.kills, self.sent, self.measured = 0, 0, [], []

    def start(self):
        self.starts += 1

    def kill(self):
        self.kills += 1

    def send(self, frame):
        self.sent.append((frame.kind, frame.fields.get('digest')))
        self.measured.append(frame.fields.get('measured'))


class Rig:
    def __init__(self, robot):
        self.now, self.worker = 0.0, Worker()
        self.supervisor = Supervisor(self.worker, LoadRequest('store', robot), stall_timeout=5.0,
                                     wall=lambda: self.now)
        self.supervisor.start()

    def reply(self, kind, **fields):
        self.supervisor.on_reply(Frame(kind, fields))

    def act_with(self, digest):
        self.reply('ready')
        self.supervisor.want(Candidate(digest, 1))
        self.reply('loaded', digest=digest, **LOADED)
        assert self.supervisor.swap()

    def die(self):
        self.reply('died', reason='inference worker ended (signal 11)')

    def die_and_start_again(self, pause=LONGEST_PAUSE_S):
        """Let the worker die and the next one be ready; `worker.sent` is what that one was sent."""
        self.die()
        self.now += pause
        self.supervisor.poll(0.0)
        self.worker.sent.clear()
        self.reply('ready')


@pytest.fixture
def rig(robot):
    return Rig(robot)


def test_what_was_wanted_before_the_worker_is_up_is_sent_when_it_is(rig):
    rig.supervisor.want(Candidate('one', 1))
    assert rig.worker.sent == []
    rig.reply('ready')
    assert rig.worker.sent == [('load', 'one')]


def test_a_dead_worker_is_started_again_after_a_pause_and_gets_the_active_checkpoint(rig):
    rig.act_with('one')
    rig.die()
    assert not rig.supervisor.usable and 'signal 11' in rig.supervisor.reason
    rig.supervisor.poll(0.0)
    assert rig.worker.starts == 1
    rig.now += FIRST_PAUSE_S
    rig.supervisor.poll(0.0)
    assert rig.worker.starts == 2
    rig.reply('ready')
    assert rig.worker.sent[-1] == ('load', 'one') and not rig.supervisor.usable
    rig.reply('loaded', digest='one', **LOADED)
    assert rig.supervisor.usable and rig.supervisor.reason == ''


def test_a_fresh_worker_is_told_which_backend_was_the_fastest_and_measures_nothing_again(rig):
    rig.act_with('one')
    rig.die_and_start_again(FIRST_PAUSE_S)
    assert rig.worker.measured[0] == '' and rig.worker.measured[-1] == LOADED['backend']
    rig.reply('loaded', digest='one', **LOADED)
    rig.supervisor.want(Candidate('two', 2))
    assert rig.worker.sent[-1] == ('load', 'two') and rig.worker.measured[-1] == ''


def test_a_worker_that_dies_while_it_loads_the_active_checkpoint_is_asked_for_it_once(rig):
    rig.act_with('one')
    for _ in range(2):
        rig.die_and_start_again()
    rig.reply('loaded', digest='one', **LOADED)
    assert rig.supervisor.usable and rig.worker.sent == [('load', 'one')]


def test_what_was_wanted_while_the_active_checkpoint_loads_again_comes_after_it(rig):
    rig.act_with('one')
    rig.die_and_start_again()
    assert rig.supervisor.want(Candidate('two', 2)) == ''
    rig.die_and_start_again()
    rig.reply('loaded', digest='one', **LOADED)
    assert rig.worker.sent == [('load', 'one'), ('load', 'two')]


def test_a_worker_that_keeps_dying_is_started_ever_less_often(rig):
    pauses = []
    for _ in range(7):
        rig.die()
        start, starts = rig.now, rig.worker.starts
        while rig.worker.starts == starts:
            rig.now += 0.125  # exact in binary
            rig.supervisor.poll(0.0)
        pauses.append(round(rig.now - start, 1))
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    rig.supervisor.on_success()
    rig.die()
    rig.now += FIRST_PAUSE_S
    rig.supervisor.poll(0.0)
    assert rig.worker.starts == 9


def test_a_stalled_worker_is_ended_once_and_says_why(rig):
    rig.act_with('one')
    rig.supervisor.poll(4.9)
    assert rig.worker.kills == 0
    rig.supervisor.poll(5.1)
    rig.supervisor.poll(5.2)
    assert rig.worker.kills == 1
    rig.die()
    assert 'took 5.1 s, bound 5 s' in rig.supervisor.reason


def test_while_the_store_is_away_a_fresh_worker_tries_again_and_again(rig):
    rig.act_with('one')
    rig.die_and_start_again(FIRST_PAUSE_S)
    for _ in range(3):
        rig.reply('refused', digest='one', reason='store is gone')
        rig.now += RELOAD_PAUSE_S
        rig.supervisor.poll(0.0)
    assert rig.worker.sent.count(('load', 'one')) >= 4
    rig.reply('loaded', digest='one', **LOADED)
    assert rig.supervisor.usable

# SPDX-License-Identifier: Apache-2.0
"""A worker started again acts by eager first, and the fast backend is neither lost nor in the way.

The real supervisor and the real worker; after each `loaded` the worker waits until it may go on.
"""

from dataclasses import replace
import queue
import threading

import fakes
import pytest

from lwd_policy_node.checkpoints import Candidate
from lwd_policy_node.loading import LoadRequest
from lwd_policy_node.supervisor import LONGEST_PAUSE_S, Supervisor
from lwd_policy_node.wire import Frame
from lwd_policy_node.worker import WorkerCore

PATIENCE_S = 120.0


DIFFERS = 'eager instead of fast: differs'


def load(request):
    """Load as told by the digest: 'off...' and 'unmeasured...' the fast backend is wrong for."""
    loaded = fakes.load(request)
    if 'eager' in (request.backend, request.measured):
        return replace(loaded, backend='eager')
    if request.digest.startswith('ok'):
        return replace(loaded, backend='fast')
    return replace(loaded, backend='eager', note=DIFFERS,
                   measured='fast' if request.digest.startswith('off') else 'auto')


class Rig:
    """Supervisor and worker; as the supervisor's inference it starts a new worker each time."""

    def __init__(self, robot):
        self.now, self.go_on = 0.0, threading.Event()
        self.supervisor = Supervisor(self, LoadRequest('', robot, backend='auto'), 5.0,
                                     wall=lambda: self.now)
        self.table = self.supervisor.checkpoints
        self.supervisor.start()
        self.take('ready')

    def start(self):
        self.go_on.set()  # what is left of the worker before talks to nobody
        self.go_on, self.replies = threading.Event(), queue.Queue()
        self.core = WorkerCore(load, self._answer(self.replies, self.go_on))
        self.replies.put(Frame('ready'))

    @staticmethod
    def _answer(replies, go_on):
        def answer(frame):
            replies.put(frame)
            go_on.wait(PATIENCE_S)
        return answer

    def send(self, frame):
        self.core.handle(frame)

    def take(self, kind):
        frame = self.replies.get(timeout=PATIENCE_S)
        assert frame.kind == kind
        self.supervisor.on_reply(frame)

    def install(self, digest, step):
        assert self.supervisor.want(Candidate(digest, step)) == ''
        self.take('loaded')
        assert self.supervisor.swap()

    def die_and_restart(self):
        self.supervisor.on_reply(Frame('died', {'reason': 'signal 11'}))
        self.now += LONGEST_PAUSE_S
        self.supervisor.poll(0.0)
        self.take('ready')
        self.take('loaded')


@pytest.fixture
def rig(robot):
    made = Rig(robot)
    made.install('ok1', 1)
    assert made.table.active.backend == 'fast'
    yield made
    made.go_on.set()


def test_a_second_death_before_the_fast_backend_is_built_does_not_make_eager_the_fastest(rig):
    for _ in range(2):
        rig.die_and_restart()
        assert rig.supervisor.usable and rig.table.active.backend == 'eager'
    rig.go_on.set()
    rig.take('loaded')
    assert rig.table.active.backend == 'fast'


def test_a_backend_that_these_weights_fail_with_is_tried_again_after_a_restart_and_said(rig):
    rig.install('off2', 2)
    active = rig.table.active
    assert (active.backend, active.measured, active.stands_in) == ('eager', 'fast', True)
    rig.die_and_restart()
    assert 'fast is being built' in rig.table.active.note
    rig.go_on.set()
    rig.take('loaded')
    assert (rig.table.active.backend, rig.table.active.note) == ('eager', DIFFERS)
    rig.install('ok3', 3)
    assert rig.table.active.backend == 'fast'


def test_what_could_not_be_measured_is_measured_again_while_eager_acts(rig):
    rig.install('unmeasured2', 2)
    rig.die_and_restart()
    assert rig.supervisor.usable and rig.table.active.backend == 'eager'
    assert 'the fastest is being measured' in rig.table.active.note
    rig.go_on.set()
    rig.take('loaded')
    assert (rig.table.active.backend, rig.table.active.note) == ('eager', DIFFERS)


def test_a_fast_backend_that_comes_after_the_next_checkpoint_does_not_roll_it_back(rig):
    rig.die_and_restart()
    rig.install('ok2', 2)  # the worker loads it before it builds the fast backend of ok1
    rig.go_on.set()
    rig.take('loaded')
    assert not rig.supervisor.swap() and rig.table.active.digest == 'ok2'
    assert (rig.table.previous.digest, rig.table.previous.backend) == ('ok1', 'fast')
    assert rig.table.rollback() == '' and rig.supervisor.swap() and rig.supervisor.usable

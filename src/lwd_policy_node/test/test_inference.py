# SPDX-License-Identifier: Apache-2.0
"""The worker over its real transports."""

import contextlib
from dataclasses import replace
import gc
import os
import queue
import signal
import time
import weakref

import fakes
import numpy as np
import pytest

from lwd_core.chunks.continuation import Continuation
from lwd_core.observation import Observation
from lwd_core.priority import ORDINARY_NICENESS
from lwd_policy_node.arena import SLOTS
from lwd_policy_node.inference import make_inference
from lwd_policy_node.loading import LoadRequest
from lwd_policy_node.wire import Frame
from lwd_policy_node.worker import act_frame, IDLE_S, load_frame, WorkerCore

PATIENCE_S = 120.0
OBSERVATION = Observation(1, np.array([0.1, 0.2, 0.3], np.float32), {}, np.zeros(2, np.float32),
                          'go', {'joint_states': 1})


@pytest.fixture(params=['process', 'inline'])
def worker(request):
    replies = queue.Queue()
    inference = make_inference(request.param, replies.put, 'fakes:load')
    inference.replies, inference.kind = replies, request.param
    inference.start()
    assert replies.get(timeout=PATIENCE_S).kind == 'ready'
    yield inference
    inference.close()


def ask(worker, frame):
    worker.send(frame)
    return worker.replies.get(timeout=PATIENCE_S)


def load(worker, robot, digest):
    return ask(worker, load_frame(LoadRequest('', robot, digest)))


def test_the_same_observation_and_seed_give_the_same_chunk_bit_for_bit(worker, robot):
    assert load(worker, robot, 'ok1').fields['digest'] == 'ok1'
    chunks = [ask(worker, act_frame(i, 'ok1', 5, OBSERVATION)) for i in range(2)]
    assert [c.fields['id'] for c in chunks] == [0, 1]
    assert chunks[0].arrays['actions'].shape == (16, 3)
    assert chunks[0].arrays['actions'].tobytes() == chunks[1].arrays['actions'].tobytes()


@pytest.mark.parametrize(('digest', 'reason'), [('bad1', 'damaged'), ('boom', 'surprise')])
def test_a_checkpoint_that_cannot_be_loaded_is_refused_and_the_worker_lives(
        worker, robot, digest, reason):
    refused = load(worker, robot, digest)
    assert refused.kind == 'refused' and reason in refused.fields['reason']
    assert load(worker, robot, 'ok1').kind == 'loaded'


def test_a_model_that_raises_fails_the_chunk_and_the_worker_lives(worker, robot):
    load(worker, robot, 'ok1')
    bad = Observation(1, OBSERVATION.joints, {}, None, 'raise', {})
    failed = ask(worker, act_frame(1, 'ok1', 5, bad))
    assert failed.kind == 'failed' and 'does not like' in failed.fields['reason']
    assert ask(worker, act_frame(2, 'ok1', 5, OBSERVATION)).kind == 'chunk'


def test_acting_goes_on_while_another_checkpoint_is_loaded(worker, robot):
    load(worker, robot, 'ok1')
    worker.send(load_frame(LoadRequest('', robot, 'ok2')))
    worker.send(act_frame(1, 'ok1', 5, OBSERVATION))
    assert {worker.replies.get(timeout=PATIENCE_S).kind for _ in range(2)} == {'loaded', 'chunk'}


def test_a_crash_is_told_and_a_new_worker_can_be_started(robot):
    replies = queue.Queue()
    worker = make_inference('process', replies.put, 'fakes:load')
    worker.replies = replies
    worker.start()
    try:
        assert replies.get(timeout=PATIENCE_S).kind == 'ready'
        os.kill(worker.pid, signal.SIGKILL)
        died = replies.get(timeout=PATIENCE_S)
        assert died.kind == 'died' and 'signal 9' in died.fields['reason']
        worker.send(act_frame(1, 'ok1', 5, OBSERVATION))  # nobody there: no exception
        worker.start()
        assert replies.get(timeout=PATIENCE_S).kind == 'ready'
        assert load(worker, robot, 'ok1').kind == 'loaded'
    finally:
        worker.close()


def test_a_worker_steps_back_only_once_something_acts(robot):
    replies = queue.Queue()
    worker = make_inference('process', replies.put, 'fakes:load', niceness=4)
    worker.replies = replies
    worker.start()
    try:
        assert replies.get(timeout=PATIENCE_S).kind == 'ready'
        assert niceness(worker.pid) == {ORDINARY_NICENESS}
        load(worker, robot, 'ok1')
        assert niceness(worker.pid) == {min(19, ORDINARY_NICENESS + 4)}
    finally:
        worker.close()


def test_a_fresh_worker_acts_at_once_and_gets_its_fast_backend_while_it_does(robot):
    asked, replies = [], queue.Queue()

    def loader(request):
        asked.append(request.backend)
        if len(asked) == 4:
            raise RuntimeError('no compiler')
        return replace(fakes.load(request),
                       backend='fast' if request.backend == 'auto' else request.backend)

    def loaded():
        frame = replies.get(timeout=PATIENCE_S)
        assert frame.kind == 'loaded'
        return tuple(frame.fields[name] for name in ('backend', 'measured', 'again', 'note'))
    for _ in range(2):  # the second time the fast one fails
        core = WorkerCore(loader, replies.put)
        core.handle(load_frame(LoadRequest('', robot, 'ok1', backend='auto', measured='fast')))
        assert loaded() == ('eager', 'fast', False, 'at once after a restart; fast is being built')
        assert loaded() == (('fast', 'fast', True, 'as told') if len(asked) == 2 else (
            'eager', 'fast', True, 'stays with eager: RuntimeError: no compiler'))
        core.handle(act_frame(1, 'ok1', 5, OBSERVATION))
        assert replies.get(timeout=PATIENCE_S).kind == 'chunk'
    assert asked == ['eager', 'auto', 'eager', 'auto']


def test_a_loader_that_knows_no_backends_loads_once(robot):
    asked, replies = [], queue.Queue()

    def loader(request):
        asked.append(request.digest)
        return fakes.load(request)
    core = WorkerCore(loader, replies.put)
    core.handle(load_frame(LoadRequest('', robot, 'ok1', backend='auto', measured='fake')))
    fakes.finish_loads(PATIENCE_S)
    assert asked == ['ok1'] and replies.get_nowait().fields['backend'] == 'fake'


def test_a_dropped_policy_is_taken_apart_when_nothing_acts_and_not_before(robot):
    replies, kept = queue.Queue(), {}

    def loader(request):
        loaded = fakes.load(request)
        kept[request.digest] = weakref.ref(loaded.policy)
        return loaded
    core = WorkerCore(loader, replies.put)
    digests = ['ok1', 'ok2', 'ok3', 'ok4']
    for digest in digests:
        core.handle(load_frame(LoadRequest('', robot, digest)))
        fakes.finish_loads(PATIENCE_S)
    assert core.patience is None

    def alive():
        gc.collect()
        return [digest for digest in digests if kept[digest]() is not None]
    core.handle(Frame('drop', {'digest': 'ok1'}))
    core.handle(act_frame(1, 'ok4', 5, OBSERVATION))
    assert core.patience == IDLE_S and alive() == digests
    core.clean()
    assert core.patience is None and alive() == digests[1:]
    core.handle(act_frame(2, 'ok1', 5, OBSERVATION))
    assert [replies.get_nowait().kind for _ in range(6)] == [*['loaded'] * 4, 'chunk', 'failed']


def test_a_worker_that_never_rests_keeps_no_more_than_two_dropped_policies(robot):
    kept = []

    def loader(request):
        loaded = fakes.load(request)
        kept.append(weakref.ref(loaded.policy))
        return loaded
    core = WorkerCore(loader, lambda frame: None)
    for number in range(5):
        core.handle(load_frame(LoadRequest('', robot, f'ok{number}')))
        fakes.finish_loads(PATIENCE_S)
        core.handle(Frame('drop', {'digest': f'ok{number}'}))
    gc.collect()
    assert [ref() is not None for ref in kept] == [False] * 3 + [True] * 2


def test_a_worker_that_rests_forgets_what_was_dropped_and_goes_on(worker, robot):
    load(worker, robot, 'ok1')
    load(worker, robot, 'ok2')
    worker.send(Frame('drop', {'digest': 'ok1'}))
    time.sleep(2 * IDLE_S)  # nothing is told when it has: only that it lives can be seen
    assert ask(worker, act_frame(1, 'ok2', 5, OBSERVATION)).kind == 'chunk'
    assert ask(worker, act_frame(2, 'ok1', 5, OBSERVATION)).kind == 'failed'


def niceness(pid):
    found = set()
    for name in os.listdir(f'/proc/{pid}/task'):
        with contextlib.suppress(ProcessLookupError):  # the thread that loaded may just end
            found.add(os.getpriority(os.PRIO_PROCESS, int(name)))
    return found


def test_continuations_and_images_reach_the_policy_and_slots_come_back(worker, robot):
    load(worker, robot, 'pixels1')
    seen = Observation(1, OBSERVATION.joints, {'head': np.full((64, 64, 3), 7, np.uint8)}, None,
                       'echo', {})
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    for number in range(10):
        reply = ask(worker, act_frame(
            number, 'pixels1', 5, seen, Continuation(rows, 1), image_size=(8, 6)))
        assert reply.fields['sections'] == {'sample': 0.001}
        actions = reply.arrays['actions']
        assert actions[:2].tolist() == rows.tolist() and actions[2].tolist() == [8, 6, 7]
    if worker.kind == 'process':
        assert worker.arena.free == SLOTS

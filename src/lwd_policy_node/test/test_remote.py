# SPDX-License-Identifier: Apache-2.0
"""A policy on another machine: what is asked, what is taken, and what happens when it is gone."""

import pickle
import queue
import threading
import time

from fakes import finish_loads
import numpy as np
from policy_server import PolicyServer
import pytest
import yaml

from lwd_core.checkpoint import CheckpointError
from lwd_core.observation import Observation
from lwd_core.spec import SpecError
from lwd_policy_node.checkpoints import Candidate
from lwd_policy_node.inference import make_inference
from lwd_policy_node.loading import LoadRequest
from lwd_policy_node.params import REMOTE_LOADER
from lwd_policy_node.remote.codec import CodecError, pack, unpack
from lwd_policy_node.remote.connection import (
    Connection,
    FIRST_PAUSE_S,
    ServerAwayError,
    ServerRefusedError,
)
from lwd_policy_node.remote.policy import load
from lwd_policy_node.remote.spec import RemoteSpec
from lwd_policy_node.supervisor import LONGEST_PAUSE_S, Supervisor
from lwd_policy_node.wire import Frame
from lwd_policy_node.worker import act_frame, load_frame, WorkerCore

PATIENCE_S = 120.0
JOINTS = np.array([0.1, 0.2, 0.3], np.float32)


@pytest.fixture
def server():
    made = PolicyServer()
    yield made
    made.close()


@pytest.fixture
def remote_file(tmp_path, server):
    def write(**changes):
        path = tmp_path / 'remote.yaml'
        path.write_text(yaml.safe_dump({
            'url': server.url, 'horizon': 8, 'images': {'head': 'images.cam_high'},
            'image_size': 16, 'timeout': 20.0, **changes}))
        return str(path)
    return write


def observation():
    image = np.zeros((6, 8, 3), np.uint8)
    image[:, :, 0] = 200
    return Observation(1, JOINTS, {'head': image}, None, 'fold the towel', {})


def remote(remote_file, robot, **changes):
    return load(LoadRequest('', robot, 'remote', remote_file=remote_file(**changes)))


@pytest.mark.parametrize('value', [
    np.arange(6, dtype=np.float32).reshape(2, 3), np.array(True), np.zeros((0, 3), np.uint8),
    np.float32(0.5), np.int64(-3), {'a': [1, 2.5, None, 'text', {'b': b'raw'}]},
    np.asfortranarray(np.arange(6).reshape(2, 3))])
def test_what_is_packed_comes_back_as_it_was(value):
    back = unpack(pack({'x': value}))['x']
    if isinstance(value, (np.ndarray, np.generic)):
        assert back.dtype == value.dtype and back.shape == value.shape
        assert np.array_equal(back, value)
    else:
        assert back == value


@pytest.mark.parametrize('value', [
    np.array([object()]), np.array([1j]), object(), np.array(['a']), {1, 2}])
def test_what_is_not_numbers_or_plain_data_is_not_packed(value):
    with pytest.raises(CodecError):
        pack({'x': value})


def array(**changes):
    return pack({b'__ndarray__': True, b'data': bytes(8), b'dtype': '<f4', b'shape': [2],
                 **changes})


@pytest.mark.parametrize('message', [
    b'', b'\xc1', pickle.dumps({'a': 1}), pack({'a': 1})[:-1], array(**{'shape': 0}) + b'x',
    pack({b'__ndarray__': True, b'data': bytes(8), b'dtype': '|O', b'shape': [1]}),
    pack({b'__ndarray__': True, b'data': bytes(8), b'dtype': '<f4', b'shape': [3]}),
    pack({b'__ndarray__': True, b'data': bytes(8), b'dtype': '<f4', b'shape': [-2]}),
    pack({b'__ndarray__': True, b'data': bytes(8), b'dtype': '<f4', b'shape': [2**40, 2**40]}),
    pack({b'__ndarray__': True})])
def test_a_message_that_is_not_of_the_format_is_refused(message):
    with pytest.raises(CodecError):
        unpack(message)


def test_the_server_is_told_joints_image_and_instruction_by_its_own_names(
        server, remote_file, robot):
    policy = remote(remote_file, robot, layout='chw').policy
    policy.act(observation(), 5)
    seen = server.seen[-1]
    assert set(seen) == {'images', 'state', 'prompt'} and seen['prompt'] == 'fold the towel'
    assert np.array_equal(seen['state'], JOINTS)
    image = seen['images']['cam_high']
    assert image.shape == (3, 16, 16) and image.dtype == np.uint8
    assert (image[0, 2:14] == 200).all()  # 8 x 6 scaled to 16 x 12, black above and below
    assert not image[:, :2].any() and not image[:, 14:].any() and not image[1:].any()


def test_the_chunk_is_cut_to_the_robots_joints_and_the_horizon(remote_file, robot):
    loaded = remote(remote_file, robot)
    assert (loaded.horizon, loaded.mode, loaded.cameras) == (8, 'pixels', ('head',))
    assert loaded.backend == 'remote' and 'policy=test' in loaded.note
    chunk = loaded.policy.act(observation(), 5)
    assert chunk.dtype == np.float32
    assert chunk == pytest.approx(JOINTS + np.arange(8)[:, None] / 100)


def test_time_on_the_server_and_on_the_way_are_told_apart(server, remote_file, robot):
    policy = remote(remote_file, robot).policy
    server.delay = 0.05
    began = time.perf_counter()
    policy.act(observation(), 5)
    taken = time.perf_counter() - began
    assert policy.seconds['sample'] == pytest.approx(0.002)
    assert 0.048 <= policy.seconds['network'] <= taken - 0.002


def test_the_key_comes_from_the_environment_only(server, remote_file, robot, monkeypatch):
    monkeypatch.setenv('MY_KEY', 'secret')
    loaded = remote(remote_file, robot, api_key_env='MY_KEY')
    assert server.headers[-1]['Authorization'] == 'Api-Key secret'
    assert 'secret' not in str(loaded.description)


def test_an_answer_that_comes_too_late_is_never_taken_for_the_next_one(
        server, remote_file, robot):
    policy = remote(remote_file, robot, timeout=2.0).policy
    now, too_late = [0.0], threading.Event()
    policy.connection._clock = lambda: now[0]
    server.answer = lambda observation: too_late.wait(PATIENCE_S) and server.straight(observation)
    with pytest.raises(ServerAwayError, match='no answer within 2 s'):
        policy.act(observation(), 5)
    server.answer = server.straight
    too_late.set()
    with pytest.raises(ServerAwayError, match='connecting again in 0.2'):
        policy.act(observation(), 5)  # at once, without waiting for anything
    now[0] += FIRST_PAUSE_S
    other = Observation(2, JOINTS + 1, observation().images, None, 'go', {})
    assert policy.act(other, 6)[0] == pytest.approx(JOINTS + 1)
    assert policy.connection.connects == 2


def test_a_server_that_is_gone_is_found_again_when_it_is_back(server, remote_file, robot):
    policy = remote(remote_file, robot).policy
    now = [0.0]
    policy.connection._clock = lambda: now[0]
    server.close()
    pauses = []
    for _ in range(4):
        with pytest.raises(ServerAwayError, match=f'policy server {server.url}'):
            policy.act(observation(), 5)
        pauses.append(policy.connection._not_before - now[0])
        now[0] += pauses[-1]
    assert pauses == pytest.approx([0.25, 0.5, 1.0, 2.0])
    again = PolicyServer(server.port)
    try:
        assert policy.act(observation(), 5).shape == (8, 3)
    finally:
        again.close()


@pytest.mark.parametrize(('answer', 'error', 'words'), [
    ('Traceback ...\nKeyError: images', ServerRefusedError, 'KeyError: images'),
    (b'\xc1', ServerAwayError, 'not a message of the policy protocol'),
    ([1, 2], ServerAwayError, 'answers list'),
    ({'action': 1}, ValueError, "no array 'actions', only .*action"),
    ({'actions': np.zeros((4, 3))}, ValueError, r'shape \(4, 3\), must be at least \(8, 3\)'),
    ({'actions': np.zeros((8, 2))}, ValueError, r'shape \(8, 2\)'),
    ({'actions': np.full((8, 3), np.nan)}, ValueError, 'not finite')])
def test_an_answer_that_cannot_be_acted_on_fails_with_the_reason(
        server, remote_file, robot, answer, error, words):
    policy = remote(remote_file, robot).policy
    server.answer = lambda observation: answer
    with pytest.raises(error, match=words):
        policy.act(observation(), 5)


def test_a_server_that_refuses_the_first_question_is_refused(server, remote_file, robot):
    server.answer = lambda observation: 'Traceback\nKeyError: observation/wrist_image'
    with pytest.raises(CheckpointError, match='warm-up failed.*wrist_image'):
        remote(remote_file, robot)


@pytest.mark.parametrize(('changes', 'words'), [
    ({'url': 'http://x'}, 'must start with ws://'), ({'horizon': 0}, 'horizon'),
    ({'images': {'elbow': 'images.x'}}, 'elbow'), ({'timeout': -1.0}, 'timeout'),
    ({'api_key': 'secret'}, "unknown key 'api_key'")])
def test_a_wrong_file_is_refused_by_key(remote_file, robot, changes, words):
    with pytest.raises(SpecError, match=words):
        RemoteSpec.from_yaml(remote_file(**changes), robot)


def test_a_chunk_that_is_too_short_for_the_scheduler_is_refused(remote_file, robot):
    with pytest.raises(CheckpointError, match='chunk length is 8.*32'):
        load(LoadRequest('', robot, remote_file=remote_file(), min_horizon=32))


def test_a_connection_to_nowhere_says_where(robot, remote_file):
    spec = RemoteSpec.from_yaml(remote_file(url='ws://127.0.0.1:9'), robot)
    with pytest.raises(ServerAwayError, match='ws://127.0.0.1:9: cannot connect'):
        Connection(spec).request({})


def test_through_the_worker_a_lost_server_is_a_failed_chunk_and_then_a_chunk_again(
        server, remote_file, robot):
    replies = queue.Queue()
    worker = make_inference('inline', replies.put, REMOTE_LOADER)
    worker.start()
    try:
        assert replies.get(timeout=PATIENCE_S).kind == 'ready'
        worker.send(load_frame(LoadRequest('', robot, 'remote', remote_file=remote_file())))
        loaded = replies.get(timeout=PATIENCE_S)
        assert loaded.kind == 'loaded'
        digest = loaded.fields['digest']
        server.answer = lambda observation: 'Traceback\nRuntimeError: out of memory'
        worker.send(act_frame(1, digest, 5, observation()))
        failed = replies.get(timeout=PATIENCE_S)
        assert failed.kind == 'failed' and 'out of memory' in failed.fields['reason']
        server.answer = server.straight
        worker.send(act_frame(2, digest, 5, observation()))
        frame = replies.get(timeout=PATIENCE_S)
        assert frame.kind == 'chunk' and frame.arrays['actions'].shape == (8, 3)
    finally:
        worker.close()


def test_a_worker_started_again_asks_the_server_for_one_chunk_and_not_for_two(
        server, remote_file, robot):
    class Worker:
        """A worker without a process; the test passes its replies on."""

        def start(self):
            self.replies = queue.Queue()
            self.core = WorkerCore(load, self.replies.put)
            supervisor.on_reply(Frame('ready'))

        def send(self, frame):
            self.core.handle(frame)
            finish_loads(PATIENCE_S)
            while not self.replies.empty():
                supervisor.on_reply(self.replies.get())
    now = [0.0]
    template = LoadRequest('', robot, backend='auto', remote_file=remote_file())
    supervisor = Supervisor(Worker(), template, 5.0, wall=lambda: now[0])
    supervisor.start()
    assert supervisor.want(Candidate('remote', 0, forced=True)) == ''
    assert supervisor.swap() and len(server.seen) == 1
    supervisor.on_reply(Frame('died', {'reason': 'signal 11'}))
    now[0] += LONGEST_PAUSE_S
    supervisor.poll(0.0)
    assert supervisor.usable and supervisor.checkpoints.active.backend == 'remote'
    assert len(server.headers) == len(server.seen) == 2


def test_a_server_that_is_away_at_the_start_is_asked_again_and_not_refused(remote_file, robot):
    replies = queue.Queue()
    worker = make_inference('inline', replies.put, REMOTE_LOADER)
    worker.start()
    try:
        replies.get(timeout=PATIENCE_S)
        worker.send(load_frame(LoadRequest(
            '', robot, 'remote', remote_file=remote_file(url='ws://127.0.0.1:9'))))
        frame = replies.get(timeout=PATIENCE_S)
        assert frame.kind == 'refused' and frame.fields['away']
    finally:
        worker.close()

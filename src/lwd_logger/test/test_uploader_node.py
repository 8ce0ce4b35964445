# SPDX-License-Identifier: Apache-2.0
"""The uploader as a process: episodes over HTTP into a bucket, said on upload/status."""

import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.parameter import Parameter  # noqa: E402

from lwd_core import topics  # noqa: E402
from lwd_core.episode import list_episodes, read_episode, read_meta  # noqa: E402
from lwd_core.observation import ObservationSpec  # noqa: E402
from lwd_core.ros_qos import subscription  # noqa: E402
from lwd_core.ros_spin import SpinThread  # noqa: E402
from lwd_core.store import open_store  # noqa: E402
from lwd_logger.upload import Uploader  # noqa: E402
from lwd_logger.uploader_node import UploaderNode  # noqa: E402
from lwd_msgs.msg import UploadStatus  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'lwd_core' / 'test'))
from s3_server import environment_of, s3_server, SECRET  # noqa: E402
from support import Bench, ROBOT  # noqa: E402

TIMEOUT = 60.0
DOMAIN = 61 + (os.getpid() + 4) % 9
NAMESPACE = f'/robot_{os.getpid()}'


@pytest.fixture
def statuses(monkeypatch):
    """Listen to upload/status."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = rclpy.Context()
    context.init(domain_id=DOMAIN)
    node = rclpy.create_node('listener', context=context, namespace=NAMESPACE)
    heard = []
    subscription(node, topics.UPLOAD_STATUS, heard.append)
    thread = SpinThread(node, context=context)
    yield heard
    thread.stop()
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def bucket(tmp_path):
    with s3_server() as environment, environment_of({**os.environ, **environment,
                                                     'LWD_CACHE': str(tmp_path / 'cache')}):
        yield f's3://fleet/{tmp_path.name}'


def launch(tmp_path, store):
    return subprocess.Popen(
        [sys.executable, '-m', 'lwd_logger.uploader_node', '--ros-args',
         '-r', f'__ns:={NAMESPACE}', '-p', 'robot:=sim', '-p', f'store:={store}',
         '-p', f'local_store:={tmp_path}/local', '-p', 'poll_period:=0.2',
         '-p', 'retry_min:=0.2', '-p', 'retry_max:=0.5', '-p', 'keep_free_mib:=0'],
        stderr=subprocess.PIPE, text=True, env={
            **os.environ, 'ROS_DOMAIN_ID': str(DOMAIN),
            'PYTHONPATH': os.pathsep.join(path for path in sys.path if path)})


def wait_for(condition, what):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f'no {what} within {TIMEOUT} s'
        time.sleep(0.02)


def record(tmp_path, *names):
    from lwd_core.store import FolderStore
    bench = Bench(tmp_path, store=FolderStore(tmp_path / 'local'))
    for name in names:
        bench.play(id=name)
    bench.spool.close()


def test_episodes_reach_a_bucket_over_http_and_are_read_back_by_the_learner(
        tmp_path, bucket, statuses):
    record(tmp_path, 'ep-1', 'ep-2')
    process = launch(tmp_path, bucket)
    try:
        wait_for(lambda: statuses and statuses[-1].uploaded_episodes == 2, 'upload')
        assert statuses[-1].state == UploadStatus.IDLE
        assert statuses[-1].pending_episodes == statuses[-1].pending_bytes == 0
        store = open_store(bucket)
        paths = list_episodes(store)
        assert [path[-4:] for path in paths] == ['ep-1', 'ep-2']
        assert read_meta(store, paths[0]).outcome == 'success'
        data = read_episode(store.local(paths[0]), ROBOT, ObservationSpec.for_robot(ROBOT, 'state'))
        assert len(data) == 20
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0 and 'confirmed by s3://fleet' in log
    finally:
        process.kill()


def test_a_store_that_is_away_is_said_with_its_reason_and_without_secrets(
        tmp_path, bucket, statuses, monkeypatch):
    record(tmp_path, 'ep-1')
    monkeypatch.setenv('AWS_ENDPOINT_URL', 'http://127.0.0.1:9')
    process = launch(tmp_path, bucket)
    try:
        def retrying():
            return next((s for s in statuses if s.state == UploadStatus.RETRYING), None)
        wait_for(retrying, 'a retry')
        status = retrying()
        assert status.pending_episodes == 1 and status.pending_bytes > 1000
        assert 'does not answer' in status.reason and status.failures and status.retry_in > 0
        process.terminate()
        _, log = process.communicate(timeout=TIMEOUT)
        assert 'nothing is lost' in log
        assert SECRET not in log and SECRET not in status.reason
        files = [path for path in (tmp_path / 'local').rglob('*') if path.is_file()]
        assert files and not any(SECRET.encode() in path.read_bytes() for path in files)
    finally:
        process.kill()


@pytest.fixture
def here(tmp_path, statuses):
    """Return how to start an uploader in this process; it finds nothing to do for a minute."""
    context = rclpy.Context()
    context.init(domain_id=DOMAIN)
    made = []

    def start():
        node = UploaderNode(context=context, namespace=NAMESPACE, parameter_overrides=[
            Parameter(name, value=value) for name, value in {
                'robot': 'sim', 'store': str(tmp_path / 'remote'), 'poll_period': 60.0,
                'local_store': str(tmp_path / 'local')}.items()])
        made.append((SpinThread(node, context=context), node))
        return node
    yield start
    for thread, node in made:
        thread.stop()
        node.destroy_node()
    context.try_shutdown()


def test_what_is_only_half_changed_is_not_said(here, statuses):
    node = here()
    wait_for(lambda: len(statuses) >= 2, 'the first statuses')
    node.uploader.progress.uploaded_episodes = 1  # the rest of it would follow a moment later
    count = len(statuses)
    wait_for(lambda: len(statuses) > count + 1, "the timer's statuses")
    assert {status.uploaded_episodes for status in statuses} == {0}


def test_a_step_that_fails_is_said_as_a_fault(here, statuses, monkeypatch):
    def broken(self):
        raise PermissionError(13, 'Permission denied', 'local/episodes')
    monkeypatch.setattr(Uploader, 'step', broken)
    here()
    wait_for(lambda: statuses and statuses[-1].state == UploadStatus.FAULT, 'FAULT')
    assert 'PermissionError' in statuses[-1].reason and 'local/episodes' in statuses[-1].reason


@pytest.mark.parametrize('store, text', [
    ('s3://key:sentinel@bucket', 'credentials and options come from the environment'),
    ('ftp://host/x', 'refused')])
def test_a_bad_store_is_one_line_and_exit_2(tmp_path, store, text):
    process = launch(tmp_path, store)
    _, log = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 2 and text in log and 'sentinel' not in log
    assert len(log.strip().splitlines()) == 1

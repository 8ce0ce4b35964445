# SPDX-License-Identifier: Apache-2.0
"""An S3 server on loopback, for tests: moto's, in a thread."""

import contextlib
import os

KEY, SECRET = 'test-key', 'sentinel-secret-8f2c'


@contextlib.contextmanager
def s3_server(bucket='fleet'):
    """Serve S3 with one empty bucket; yield the environment that leads to it."""
    # Only here: importing it costs a second.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        'AWS_ENDPOINT_URL': f'http://{host}:{port}', 'AWS_REGION': 'us-east-1',
        'AWS_ACCESS_KEY_ID': KEY, 'AWS_SECRET_ACCESS_KEY': SECRET, 'NO_PROXY': '127.0.0.1',
        'no_proxy': '127.0.0.1',
    }
    try:
        _create(environment, bucket)
        yield environment
    finally:
        server.stop()


def _create(environment, bucket):
    import urllib.request

    request = urllib.request.Request(
        f'{environment["AWS_ENDPOINT_URL"]}/{bucket}', method='PUT',
        headers={'Authorization': 'AWS4-HMAC-SHA256 Credential=test-key/20260101/us-east-1/s3/'
                                  'aws4_request, SignedHeaders=host, Signature=0'})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        assert answer.status == 200


@contextlib.contextmanager
def environment_of(values):
    """Set environment variables for a while, and take away what else would lead to a cloud."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith('AWS_')]:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

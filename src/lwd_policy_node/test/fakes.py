# SPDX-License-Identifier: Apache-2.0
"""A policy that does as told by the instruction, and a loader that does as told by the digest."""

import os
import threading
import time

import numpy as np

from lwd_core.checkpoint import CheckpointError
from lwd_core.observation import Observation
from lwd_policy_node.loading import Loaded
from lwd_policy_node.worker import LOAD_THREAD

HORIZON = 16


def finish_loads(timeout):
    """Wait until every worker of this process has loaded what it was told to."""
    for thread in threading.enumerate():
        if thread.name == LOAD_THREAD:
            thread.join(timeout)
            assert not thread.is_alive(), f'a load takes more than {timeout:g} s'


class FakePolicy:
    """Row i of a chunk: the joints plus i / 100; the last column is the seed modulo 97."""

    continues = ('guided',)

    def __init__(self, offset=0.0):
        self.offset = offset
        self.seconds = {'sample': 0.001}

    def act(self, observation: Observation, seed: int, continuation=None):
        order = observation.instruction
        if order == 'echo':  # what it was given: the running rows, then width, height and a pixel
            image = observation.images['head']
            said = [[image.shape[1], image.shape[0], image[0, 0, 0]]]
            return np.concatenate((continuation.rows, said)).astype(np.float32)
        if order == 'crash':
            os._exit(3)
        if order == 'stall':
            time.sleep(60.0)
        if order == 'raise':
            raise ValueError('the model does not like this')
        if order == 'slow':
            time.sleep(0.1)
        rows = np.arange(HORIZON, dtype=np.float32)[:, None] / 100 + self.offset
        chunk = np.repeat(rows, len(observation.joints), 1) + observation.joints
        chunk[:, -1] = seed % 97 / 97
        return chunk.astype(np.float32)


def load(request):
    """Load what the digest says: 'bad...' is refused, '...N' (a number) has step N."""
    digest = request.digest
    if digest.startswith('bad'):
        raise CheckpointError(f'{digest} is damaged: sha256 is 00, must be ff')
    if digest.startswith('boom'):
        raise RuntimeError('surprise')
    step = int(''.join(c for c in digest if c.isdigit()) or 0)
    mode = 'pixels' if 'pixels' in digest else 'state'
    cameras = ('head',) if mode == 'pixels' else ()
    return Loaded(FakePolicy(step / 1000), digest, step, HORIZON, mode, cameras, (8, 6), 'fake',
                  0.01, 'as told')

# SPDX-License-Identifier: Apache-2.0
"""A real websocket server that speaks openpi's policy protocol and misbehaves on request."""

import threading
import time

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from lwd_policy_node.remote.codec import pack, unpack


class PolicyServer:
    """Answers every observation with `self.answer(observation)`; made in a thread, on loopback."""

    def __init__(self, port=0, metadata=None):
        self.metadata = metadata or {'policy': 'test'}
        self.seen, self.headers = [], []
        self.delay = 0.0
        self.answer = self.straight
        self._server = serve(self._handle, '127.0.0.1', port, compression=None, max_size=None)
        self.port = self._server.socket.getsockname()[1]
        self._sockets = []
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f'ws://127.0.0.1:{self.port}'

    @staticmethod
    def straight(observation):
        """Rows from the state on; padded to 32 dimensions as pi0's are before its transforms."""
        state = np.asarray(observation['state'], np.float64)
        chunk = np.zeros((10, 32))
        chunk[:, :len(state)] = state + np.arange(10)[:, None] / 100
        return {'actions': chunk, 'server_timing': {'infer_ms': 2.0}}

    def _handle(self, socket):
        self._sockets.append(socket)
        self.headers.append(socket.request.headers)
        try:
            socket.send(pack(self.metadata))
            while True:
                observation = unpack(socket.recv())
                self.seen.append(observation)
                time.sleep(self.delay)
                answer = self.answer(observation)
                socket.send(answer if isinstance(answer, (str, bytes)) else pack(answer))
        except ConnectionClosed:
            return

    def close(self):
        self._server.shutdown()
        for socket in self._sockets:
            socket.close()
        self._thread.join(5.0)

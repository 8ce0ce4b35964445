# SPDX-License-Identifier: Apache-2.0
"""Polls what a checkpoint channel of the store means: for robots that hear no announcements."""

from __future__ import annotations

from collections.abc import Callable
import threading

from lwd_core.checkpoint import CheckpointError, read_channel
from lwd_core.store import open_store, StoreError
from lwd_policy_node.checkpoints import Candidate


class ChannelPoller:
    """Calls back with the channel's checkpoint when it changes; in a thread, stores may be slow."""

    def __init__(self, store: str, channel: str, period: float,
                 on_candidate: Callable[[Candidate], None], warn: Callable[[str], object]) -> None:
        self._store, self._channel, self._period = store, channel, period
        self._on_candidate, self._warn = on_candidate, warn
        self._known = self._complaint = ''
        self._stop = threading.Event()
        threading.Thread(target=self._run, name='channel-poll', daemon=True).start()

    def close(self) -> None:
        """Stop polling."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.poll()
                self._complaint = ''
            except (CheckpointError, StoreError, OSError) as error:
                self._complain(f'channel {self._channel!r}: {error}')
            self._stop.wait(self._period)

    def poll(self) -> None:
        """Ask the store once."""
        ref = read_channel(open_store(self._store), self._channel)
        if ref is not None and ref.digest != self._known:
            self._known = ref.digest
            self._on_candidate(Candidate(ref.digest, ref.step, ref.uri))

    def _complain(self, text: str) -> None:
        """Warn once per trouble: a robot without network goes on with the policy it has."""
        if text != self._complaint:
            self._complaint = text
            self._warn(text)

# SPDX-License-Identifier: Apache-2.0
"""Make what was written survive a power cut, without the writer waiting for the disk."""

from __future__ import annotations

from collections.abc import Callable
import os
import threading


class Syncer:
    """A thread that makes one descriptor's file durable at a time; while it is busy, no other.

    What a full or failing disk has to say is said by the next write and by the file's closing.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._handle = -1
        self._stopping = False
        self._condition = threading.Condition()  # guards everything above
        # A daemon: a recorder that cannot begin must end, and one that ends calls `stop`.
        self._thread = threading.Thread(target=self._run, name='bag-sync', daemon=True)
        self._thread.start()

    def __call__(self, handle: int) -> None:
        """Take a descriptor of its own; -1 is nothing."""
        with self._condition:
            if handle >= 0 and self._handle < 0 and not self._stopping:
                self._handle, handle = handle, -1
                self._condition.notify()
        if handle >= 0:
            os.close(handle)  # the one before is still on its way

    def stop(self) -> None:
        """End the thread after what it does now."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._handle >= 0 or self._stopping)
                handle = self._handle
                if handle < 0:
                    return
            try:
                os.fdatasync(handle)
            except OSError as error:
                self._failed(error)
            finally:
                os.close(handle)
                with self._condition:
                    self._handle = -1

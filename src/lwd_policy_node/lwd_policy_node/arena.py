# SPDX-License-Identifier: Apache-2.0
"""Memory that the policy node and its worker share: large arrays are written once and read there.

A few slots of one anonymous file (memfd): the node takes a slot for a request and has it back with
the reply. Pages that are never touched cost nothing; nothing is left behind in /dev/shm.
"""

from __future__ import annotations

from collections.abc import Mapping
import mmap
import os
import threading

import numpy as np

SLOTS = 4  # one request under way, and what mode changes may have left behind it
SLOT_BYTES = 32 << 20  # three raw 1080p cameras are 19 MB
LARGE = 4096  # bytes; smaller arrays travel with the frame
ALIGNED = 64

Place = tuple[int, str, tuple[int, ...]]  # offset, dtype, shape


class Arena:
    """One side's view of the shared slots; the node's side hands them out."""

    def __init__(self, fd: int | None = None) -> None:
        """Make the memory, or map what another process made."""
        self.fd = os.memfd_create('lwd-arena') if fd is None else fd
        if fd is None:
            os.truncate(self.fd, SLOTS * SLOT_BYTES)
        self._memory = mmap.mmap(self.fd, SLOTS * SLOT_BYTES)
        self._lock = threading.Lock()
        self._free = list(range(SLOTS))
        self._taken: dict[int, int] = {}  # request id -> slot

    def put(self, request_id: int, arrays: Mapping[str, np.ndarray]) -> dict[str, Place]:
        """Copy the large arrays into a slot until `release`; return where they are.

        Returns less, or nothing, where the slot or the slots do not suffice.
        """
        places: dict[str, Place] = {}
        large = {name: array for name, array in arrays.items() if array.nbytes >= LARGE}
        slot = self._take(request_id) if large else None
        if slot is None:
            return places
        offset, end = slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES
        for name, array in large.items():
            if offset + array.nbytes <= end:
                place = (offset, array.dtype.str, array.shape)
                np.copyto(self.view(place), array)
                places[name] = place
                offset += -(-array.nbytes // ALIGNED) * ALIGNED
        return places

    def view(self, place: Place) -> np.ndarray:
        """Return the array at a place, without a copy."""
        offset, dtype, shape = place
        return np.ndarray(tuple(shape), np.dtype(dtype), self._memory, offset)

    def release(self, request_id: int) -> None:
        """Take a slot back: its request was answered."""
        with self._lock:
            slot = self._taken.pop(request_id, None)
            if slot is not None:
                self._free.append(slot)

    def release_all(self) -> None:
        """Take every slot back: the reader is gone."""
        for request_id in list(self._taken):
            self.release(request_id)

    @property
    def free(self) -> int:
        """Return how many slots are free."""
        return len(self._free)

    def close(self) -> None:
        """Give the memory back, once nobody looks at it."""
        os.close(self.fd)

    def _take(self, request_id: int) -> int | None:
        with self._lock:
            if not self._free or request_id in self._taken:
                return None
            self._taken[request_id] = self._free.pop()
            return self._taken[request_id]

# SPDX-License-Identifier: Apache-2.0
"""Frames between the policy node and its inference worker: a JSON header and raw arrays.

uint32 header size | header | array 0 | array 1 ... The header holds `kind`, the plain fields and
name, dtype and shape of each array, with an offset instead of bytes where the array lies in memory
that both share. No pickle: a frame can hold nothing but data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
import json
import struct
from typing import Any

import numpy as np

from lwd_policy_node.arena import Place

_SIZE = struct.Struct('<I')


@dataclass(frozen=True)
class Frame:
    """One message: what it is, its plain fields and its arrays."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def encode(frame: Frame, places: Mapping[str, Place] | None = None) -> bytes:
    """Return the bytes of a frame; arrays named in `places` are in shared memory already."""
    places = places or {}
    arrays = {name: np.ascontiguousarray(array) for name, array in frame.arrays.items()
              if name not in places}
    layout = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    shared = [[name, *place] for name, place in places.items()]
    header = json.dumps({'kind': frame.kind, 'fields': frame.fields, 'arrays': layout,
                         'shared': shared}).encode()
    return b''.join((_SIZE.pack(len(header)), header, *(a.data.cast('B')
                                                        for a in arrays.values() if a.size)))


def decode(data: bytes | bytearray, view: Callable[[Place], np.ndarray] | None = None) -> Frame:
    """Return the frame in `data`; its arrays are views of it, writable if it is a bytearray.

    `view` returns the array at a place in shared memory.
    """
    (size,) = _SIZE.unpack_from(data)
    header = json.loads(data[_SIZE.size:_SIZE.size + size])
    offset = _SIZE.size + size
    arrays = {}
    for name, dtype, shape in header['arrays']:
        array = np.ndarray(shape, np.dtype(dtype), data, offset)
        arrays[name] = array
        offset += array.nbytes
    for name, *place in header['shared']:
        if view is None:
            raise ValueError(f'frame {header["kind"]}: {name} is in shared memory, there is none')
        arrays[name] = view(tuple(place))
    return Frame(header['kind'], header['fields'], arrays)

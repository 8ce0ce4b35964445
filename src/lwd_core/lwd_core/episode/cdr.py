# SPDX-License-Identifier: Apache-2.0
"""The few fields worth finding in a serialised message without decoding it."""

from __future__ import annotations

from struct import error as StructError
from struct import Struct

from lwd_core.episode.errors import EpisodeError

_U32 = {True: Struct('<I'), False: Struct('>I')}
_BODY = 4  # bytes of CDR encapsulation before the first field
_STAMP = 8  # bytes of builtin_interfaces/Time


def image_bytes(data: memoryview) -> memoryview:
    """Return the `data` field of a serialised sensor_msgs/CompressedImage, without a copy."""
    try:
        u32 = _U32[data[1] in (1, 3)]
        offset = _BODY + _STAMP
        for _ in range(2):  # header.frame_id and format
            offset = _aligned(offset + 4 + u32.unpack_from(data, offset)[0])
        length = u32.unpack_from(data, offset)[0]
        view = data[offset + 4:offset + 4 + length]
    except (StructError, IndexError) as error:
        raise EpisodeError('damaged', f'a compressed image is cut: {error}') from error
    if len(view) != length:
        raise EpisodeError('damaged', f'a compressed image has {len(view)} bytes of {length}')
    return view


def _aligned(offset: int) -> int:
    return offset + (_BODY - offset) % 4

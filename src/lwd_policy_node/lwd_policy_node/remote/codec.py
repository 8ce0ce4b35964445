# SPDX-License-Identifier: Apache-2.0
"""openpi's wire format: msgpack, with arrays as {b'__ndarray__', b'data', b'dtype', b'shape'}.

Only plain numbers are packed and unpacked. Nothing of a message is ever executed: the format has no
pickled objects, and array types other than numbers and booleans are refused.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np

NUMBERS = 'biuf'  # kinds of dtype: boolean, integers, floats
ARRAY, SCALAR = b'__ndarray__', b'__npgeneric__'


class CodecError(ValueError):
    """A message that is not of this format."""


def pack(value: Any) -> bytes:
    """Return the message of plain data and number arrays; CodecError names what cannot be sent."""
    try:
        data: bytes = msgpack.packb(value, default=_encode)
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f'cannot be packed: {error}') from error
    return data


def unpack(data: bytes) -> Any:
    """Return what `pack` was given; arrays are read-only views of the message."""
    try:
        return msgpack.unpackb(data, object_hook=_decode)
    except CodecError:
        raise
    except Exception as error:  # msgpack has a family of its own, and raises others' too
        raise CodecError(f'not a message of the policy protocol: {error}') from error


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        _require_numbers(value.dtype)
        return {ARRAY: True, b'data': value.tobytes(), b'dtype': value.dtype.str,
                b'shape': value.shape}
    if isinstance(value, np.generic):
        _require_numbers(value.dtype)
        return {SCALAR: True, b'data': value.item(), b'dtype': value.dtype.str}
    raise TypeError(f'{type(value).__name__} is neither plain data nor an array of numbers')


def _decode(value: dict[Any, Any]) -> Any:
    if ARRAY in value:
        return _array(value)
    if SCALAR in value:
        return _dtype(value).type(value[b'data'])
    return value


def _array(value: dict[Any, Any]) -> np.ndarray:
    dtype, shape, data = _dtype(value), tuple(value[b'shape']), value[b'data']
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        raise CodecError(f'array of shape {shape!r}')
    if len(data) != dtype.itemsize * math.prod(shape):
        raise CodecError(f'array {dtype.str} of shape {shape} has {len(data)} bytes, must have '
                         f'{dtype.itemsize * math.prod(shape)}')
    return np.frombuffer(data, dtype).reshape(shape)


def _dtype(value: dict[Any, Any]) -> np.dtype:
    name = value[b'dtype']
    dtype = np.dtype(name.decode() if isinstance(name, bytes) else str(name))
    _require_numbers(dtype)
    return dtype


def _require_numbers(dtype: np.dtype) -> None:
    if dtype.kind not in NUMBERS:
        raise CodecError(f'array of {dtype} refused: only numbers and booleans travel')

# SPDX-License-Identifier: Apache-2.0
"""The few fields worth finding in a serialised message without decoding it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import error as StructError
from struct import Struct, unpack_from
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lwd_core.episode.errors import EpisodeError

_U32 = {True: Struct('<I'), False: Struct('>I')}
_BODY = 4  # bytes of CDR encapsulation before the first field
_STAMP = 8  # bytes of builtin_interfaces/Time
_LITTLE = b'\0\1'  # encapsulation of plain little-endian CDR


def image_bytes(data: memoryview) -> memoryview:
    """Return the `data` field of a serialised sensor_msgs/CompressedImage, without a copy."""
    try:
        offset = _after(data)
        length = _U32[data[1] in (1, 3)].unpack_from(data, offset)[0]
        view = data[offset + 4:offset + 4 + length]
    except (StructError, IndexError) as error:
        raise EpisodeError('damaged', f'a compressed image is cut: {error}') from error
    if len(view) != length:
        raise EpisodeError('damaged', f'a compressed image has {len(view)} bytes of {length}')
    return view


def images_bytes(messages: Sequence[memoryview]) -> list[memoryview]:
    """Return what `image_bytes` returns of each message; those of one camera begin alike."""
    found: list[memoryview] = []
    begin, head = 0, b''
    for data in messages:
        alike = data[_BODY + _STAMP:begin] == head and data[:2] == _LITTLE
        if head and alike and len(data) >= begin + 4:
            end = begin + 4 + _U32[True].unpack_from(data, begin)[0]
            if end <= len(data):
                found.append(data[begin + 4:end])
                continue
        view = image_bytes(data)
        found.append(view)
        if data[:2] == _LITTLE:
            begin = _after(data)
            head = bytes(data[_BODY + _STAMP:begin])
    return found


def _after(data: memoryview) -> int:
    """Return where the length of the image stands, behind frame_id and format."""
    offset = _BODY + _STAMP
    for _ in range(2):
        offset = _aligned(offset + 4 + _U32[data[1] in (1, 3)].unpack_from(data, offset)[0])
    return offset


def _aligned(offset: int) -> int:
    return offset + (_BODY - offset) % 4


# The two messages of every tick, read straight from their bytes: a fifth of a decoder's time, and
# all at once where they are laid out alike: a twentieth. Only for bags whose definitions have these
# RIHS01 hashes; others go through the decoder.
JOINT_STATE = ('sensor_msgs/msg/JointState',
               'RIHS01_a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e')
EXECUTED_ACTION = ('lwd_msgs/msg/ExecutedAction',
                   'RIHS01_10061733fcc0383c0f87e523aa425ff5b3f2fd345b619d8f6dbc6c67a6f386d0')
_names: dict[bytes, list[str]] = {}  # serialised sequence -> names; a robot has one or two


class _Stamp(NamedTuple):
    sec: int
    nanosec: int


class _Header(NamedTuple):
    stamp: _Stamp


class Executed(NamedTuple):
    """The fields of lwd_msgs/ExecutedAction."""

    header: _Header
    source: int
    epoch: int
    tick: int
    joint_names: list[str]
    requested: NDArray[np.float64]
    sent: NDArray[np.float64]
    clamped: int
    chunk_id: int
    chunk_index: int


class _Cursor:
    """Walks a serialised message; alignment counts from behind the encapsulation."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.order = '<' if data[1] in (1, 3) else '>'
        self.at = _BODY
        self._u32 = _U32[self.order == '<']

    def number(self, kind: str, size: int) -> int:
        self.at += (_BODY - self.at) % size
        value = unpack_from(self.order + kind, self.data, self.at)[0]
        self.at += size
        return int(value)

    def skip_string(self) -> None:
        length = self.number('I', 4)
        self.at += length

    def names(self) -> list[str]:
        count = self.number('I', 4)
        begin, at, u32 = self.at, self.at, self._u32
        for _ in range(count):
            at += (_BODY - at) % 4
            at += 4 + u32.unpack_from(self.data, at)[0]
        self.at = at
        key = bytes(self.data[begin:at])
        found = _names.get(key)
        if found is None:
            found = _names[key] = self._strings(begin, count)
        return found

    def _strings(self, at: int, count: int) -> list[str]:
        found = []
        for _ in range(count):
            at += (_BODY - at) % 4
            length = self._u32.unpack_from(self.data, at)[0]
            found.append(bytes(self.data[at + 4:at + 3 + length]).decode())
            at += 4 + length
        return found

    def doubles(self) -> NDArray[np.float64]:
        count = self.number('I', 4)
        if not count:
            return np.zeros(0)
        self.at += (_BODY - self.at) % 8
        values = np.frombuffer(self.data, self.order + 'f8', count, self.at)
        self.at += 8 * count
        return values


def joint_state(data: memoryview) -> tuple[list[str], NDArray[np.float64]]:
    """Return names and positions of a serialised sensor_msgs/JointState."""
    try:
        cursor = _Cursor(data)
        cursor.at += _STAMP
        cursor.skip_string()
        return cursor.names(), cursor.doubles()
    except (StructError, IndexError, ValueError) as error:
        raise EpisodeError('damaged', f'a joint state is cut: {error}') from error


def executed_action(data: memoryview) -> Executed:
    """Return the fields of a serialised lwd_msgs/ExecutedAction."""
    try:
        cursor = _Cursor(data)
        header = _Header(_Stamp(cursor.number('i', 4), cursor.number('I', 4)))
        cursor.skip_string()
        return Executed(
            header, cursor.number('B', 1), cursor.number('I', 4), cursor.number('Q', 8),
            cursor.names(), cursor.doubles(), cursor.doubles(), cursor.number('B', 1),
            cursor.number('Q', 8), cursor.number('H', 2))
    except (StructError, IndexError, ValueError) as error:
        raise EpisodeError('damaged', f'an executed action is cut: {error}') from error


def joint_states(messages: Sequence[memoryview]) -> list[tuple[list[str], NDArray[np.float64]]]:
    """Return what `joint_state` returns of each message."""
    return _each(messages, joint_state, _joint_rows)


def executed_actions(messages: Sequence[memoryview]) -> list[Executed]:
    """Return what `executed_action` returns of each message."""
    return _each(messages, executed_action, _executed_rows)


_T = TypeVar('_T')
_FEW = 8  # messages of one length; fewer are not worth an array


def _each(messages: Sequence[memoryview], one: Callable[[memoryview], _T],
          many: Callable[[_Rows], list[_T] | None]) -> list[_T]:
    """Read messages of equal length together, if they are laid out alike, else one by one."""
    by_length: dict[int, list[int]] = {}
    for index, message in enumerate(messages):
        by_length.setdefault(len(message), []).append(index)
    found: list[Any] = [None] * len(messages)
    for indices in by_length.values():
        alike = [messages[index] for index in indices]
        values = None
        if len(alike) >= _FEW:
            try:
                values = many(_Rows(alike))
            except (StructError, IndexError, ValueError):
                pass  # a cut one: `one` says which, and how
        for index, value in zip(indices, values or map(one, alike)):
            found[index] = value
    return found


class _Rows:
    """Messages of one length [N, bytes]; the cursor walks the first of them."""

    def __init__(self, messages: Sequence[memoryview]) -> None:
        self.cursor = _Cursor(messages[0])
        self._bytes = np.frombuffer(b''.join(messages), np.uint8).reshape(len(messages), -1)
        self.alike = self.same(0, _BODY)

    def same(self, begin: int, end: int) -> bool:
        """Say whether all messages have the first one's bytes there."""
        part = self._bytes[:, begin:end]
        return bool((part == part[0]).all())

    def walked(self, step: Callable[[], Any]) -> Any:
        """Take a step that reads only what has to be the same in all messages."""
        begin = self.cursor.at
        value = step()
        self.alike = self.alike and self.same(begin, self.cursor.at)
        return value

    def numbers(self, kind: str, count: int | None = None) -> NDArray[Any]:
        """Return the next number of each message [N], or the next `count` of them [N, count]."""
        cursor, dtype = self.cursor, np.dtype(self.cursor.order + kind)
        if count != 0:
            cursor.at += (_BODY - cursor.at) % dtype.itemsize
        begin, width = cursor.at, dtype.itemsize * (1 if count is None else count)
        if begin + width > self._bytes.shape[1]:
            raise IndexError(begin)
        cursor.at += width
        values = np.ascontiguousarray(self._bytes[:, begin:begin + width]).view(dtype)
        return values[:, 0] if count is None else values

    def doubles(self) -> NDArray[np.float64]:
        """Return the next sequence of each message [N, count]."""
        return self.numbers('f8', self.walked(lambda: self.cursor.number('I', 4)))


def _joint_rows(rows: _Rows) -> list[tuple[list[str], NDArray[np.float64]]] | None:
    rows.cursor.at += _STAMP
    rows.walked(rows.cursor.skip_string)
    names = rows.walked(rows.cursor.names)
    positions = rows.doubles()
    return [(names, row) for row in positions] if rows.alike else None


def _executed_rows(rows: _Rows) -> list[Executed] | None:
    stamps = zip(rows.numbers('i4').tolist(), rows.numbers('u4').tolist())
    headers = [_Header(_Stamp(*stamp)) for stamp in stamps]
    rows.walked(rows.cursor.skip_string)
    source, epoch, tick = (rows.numbers(kind).tolist() for kind in ('u1', 'u4', 'u8'))
    names = rows.walked(rows.cursor.names)
    requested, sent = rows.doubles(), rows.doubles()
    clamped, chunk, index = (rows.numbers(kind).tolist() for kind in ('u1', 'u8', 'u2'))
    if not rows.alike:
        return None
    return [Executed(*values) for values in zip(
        headers, source, epoch, tick, [names] * len(headers), requested, sent, clamped, chunk,
        index)]

# SPDX-License-Identifier: Apache-2.0
"""Arrays that grow by rows, in memory or in a memory-mapped file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_FIRST_ROWS = 1024


class Column:
    """A contiguous [N, ...] array with amortised append.

    With `path` the rows live in a sparse file mapped into memory, so that a buffer may exceed it;
    the file is scratch space and is rebuilt from the cached episodes at start.
    """

    def __init__(
        self, shape: tuple[int, ...] = (), dtype: DTypeLike = np.float32, path: Path | None = None
    ) -> None:
        self.shape = tuple(shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._path = path
        self._rows = 0
        self._data = self._allocate(_FIRST_ROWS)

    def __len__(self) -> int:
        """Count rows."""
        return self._rows

    @property
    def rows(self) -> NDArray[Any]:
        """Return the filled part [N, ...] without copying."""
        return self._data[: self._rows]

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows [n, ...]; a row of another shape is an error of the caller."""
        if rows.shape[1:] != self.shape:
            raise ValueError(f'rows have shape {rows.shape[1:]}, the column holds {self.shape}')
        need = self._rows + len(rows)
        if need > len(self._data):
            self._grow(max(need, 2 * len(self._data)))
        self._data[self._rows:need] = rows
        self._rows = need

    def _allocate(self, rows: int) -> NDArray[Any]:
        if self._path is None:
            return np.empty((rows, *self.shape), self.dtype)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        mode = 'r+' if self._path.exists() and self._rows else 'w+'
        if mode == 'r+':
            with open(self._path, 'r+b') as file:
                file.truncate(rows * int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize)
        return np.memmap(self._path, self.dtype, mode=mode, shape=(rows, *self.shape))  # type: ignore[call-overload, no-any-return]

    def _grow(self, rows: int) -> None:
        if self._path is None:
            grown = self._allocate(rows)
            grown[: self._rows] = self._data[: self._rows]
            self._data = grown
            return
        if isinstance(self._data, np.memmap):
            self._data.flush()
        self._data = self._allocate(rows)

# SPDX-License-Identifier: Apache-2.0
"""A dataset given as five arrays, as public offline-RL data is; checked before anyone trains.

Row t: at `observations[t]` the action `actions[t]` was taken and earned `rewards[t]`.
`terminals[t]` says that nothing can follow (value 0), `timeouts[t]` that the recording was cut
there: what the action led to was not seen, so the value goes on from `observations[t]`. A row that
is both is terminal. Rows after the last end are a cut recording too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import logging
from pathlib import Path
from typing import Any
import zipfile

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
LOGGER = logging.getLogger(__name__)
KEYS = ('observations', 'actions', 'rewards', 'terminals', 'timeouts')
ACTION_BOUND = 1.0
ACTION_SLACK = 1e-4  # rounding of data that was scaled to the bound
CONSTANT = 1e-6  # an action dimension that varies less is constant


class DatasetError(ValueError):
    """Arrays that cannot be learned from; says which, where, the value and the bound."""


@dataclass(frozen=True)
class Dataset:
    """N rows in the order they happened; o observation entries, d action dimensions."""

    observations: Floats  # [N, o]
    actions: Floats  # [N, d], in [-1, 1]
    rewards: Floats  # [N], any scale
    terminals: Bools  # [N]
    timeouts: Bools  # [N]

    def __post_init__(self) -> None:
        """Refuse what would train silently on nonsense."""
        _check_shapes(self)
        for name in KEYS[:3]:
            _check_finite(name, getattr(self, name))
        _check_actions(self.actions)
        _check_ends(self)

    def __len__(self) -> int:
        """Count rows."""
        return len(self.rewards)

    @property
    def last(self) -> NDArray[np.int64]:
        """Return the last row [N] of each row's episode."""
        ends = self.ends
        return ends[np.searchsorted(ends, np.arange(len(self)))]

    @property
    def ends(self) -> NDArray[np.int64]:
        """Return the last row of every episode, in order; the end of the data is one."""
        marked = self.terminals | self.timeouts
        marked[-1] = True
        return np.flatnonzero(marked)


def load_npz(path: Path | str) -> Dataset:
    """Read and check an .npz file with the keys of KEYS; others are ignored, said in the log."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DatasetError('is one array, not an .npz of several: use np.savez')
            _require_keys(file.files)
            arrays = {key: file[key] for key in KEYS}
    except FileNotFoundError:
        raise DatasetError(f'{path}: is not there: give an .npz with {", ".join(KEYS)}') from None
    except DatasetError as error:
        raise DatasetError(f'{path}: {error}') from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f'{path}: cannot be read as .npz ({error}): write it with np.savez, plain float arrays '
            'only (pickled objects are never loaded)') from error
    return from_arrays(arrays, str(path))


def from_arrays(arrays: Mapping[str, Any], where: str = 'dataset') -> Dataset:
    """Build a Dataset from a mapping with the keys of KEYS; errors begin with `where`."""
    try:
        _require_keys(arrays)
        numbers = {key: _numbers(key, arrays[key]) for key in KEYS}
        return Dataset(
            numbers['observations'], numbers['actions'], numbers['rewards'],
            _flags('terminals', numbers['terminals']), _flags('timeouts', numbers['timeouts']))
    except DatasetError as error:
        raise DatasetError(f'{where}: {error}') from None


def _require_keys(found: Any) -> None:
    missing = [key for key in KEYS if key not in found]
    if missing:
        raise DatasetError(f"key '{missing[0]}' is missing; there are "
                           f"{', '.join(sorted(found)) or 'none'}; needed: {', '.join(KEYS)}")
    ignored = sorted(set(found) - set(KEYS))
    if ignored:
        LOGGER.info('ignored keys: %s', ', '.join(ignored))


def _numbers(key: str, value: Any) -> Floats:
    array = np.asarray(value)
    if array.dtype.kind not in 'fiub':
        raise DatasetError(f"'{key}' is of type {array.dtype}, must be float32")
    return np.ascontiguousarray(array, np.float32)


def _flags(key: str, array: Floats) -> Bools:
    wrong = np.flatnonzero(((array != 0) & (array != 1)).ravel())
    if len(wrong):
        row = int(wrong[0])
        raise DatasetError(f"'{key}'[{row}] is {array.ravel()[row]:g}, must be 0 or 1")
    return array != 0


def _check_shapes(data: Dataset) -> None:
    if data.rewards.ndim == 1 and len(data.rewards) == 0:
        raise DatasetError("'rewards' has 0 rows: the dataset is empty")
    rows = len(data.observations) if data.observations.ndim else 0
    for key in KEYS:
        shape, wide = getattr(data, key).shape, key in ('observations', 'actions')
        wanted = f'[{rows}, {"o" if key == KEYS[0] else "d"}]' if wide else f'[{rows}]'
        if len(shape) != 1 + wide or shape[0] != rows or 0 in shape:
            raise DatasetError(f"'{key}' has shape {list(shape)}, must be {wanted}: one row a step "
                               "(N is that of 'observations')")


def _check_finite(key: str, array: Floats) -> None:
    if not np.isfinite(array).all():
        index = np.argwhere(~np.isfinite(array))[0].tolist()
        place = ', '.join(map(str, index))
        raise DatasetError(f"'{key}'[{place}] is {array[tuple(index)]}: remove that episode")


def _check_actions(actions: Floats) -> None:
    beyond = np.abs(actions) > ACTION_BOUND + ACTION_SLACK
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        raise DatasetError(
            f"'actions'[{row}, {column}] is {actions[row, column]:g}, must be in [-1, 1]; the data "
            f'reach from {actions.min():g} to {actions.max():g}: scale them to the bounds of the '
            'action space')
    constant = np.ptp(actions, axis=0) < CONSTANT
    if constant.all():
        raise DatasetError(f"'actions' are constant over {len(actions)} rows "
                           f'({actions[0].tolist()}): there is nothing to choose from')
    if constant.any():
        LOGGER.warning('action dimensions %s are constant: the policy repeats them',
                       np.flatnonzero(constant).tolist())


def _check_ends(data: Dataset) -> None:
    if not (data.terminals | data.timeouts).any():
        raise DatasetError("neither 'terminals' nor 'timeouts' marks a row: mark the last row of "
                           'every episode in one of them')
    if len(data.ends) < 2:
        raise DatasetError(f'the {len(data)} rows are a single episode: a value needs at least '
                           '2 to compare')

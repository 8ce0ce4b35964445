# SPDX-License-Identifier: Apache-2.0
"""Affine normalisation of observations and actions, stored beside the weights it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
KINDS = ('zscore', 'quantile')
# A dimension that hardly moves in the data gets this scale (robot units), not a division by zero:
# few demonstrations hardly vary in what failures vary in later (an item's tilt), and at 0.05 rad, m
# or fraction of jaw opening those states stay inside the inputs' clip.
STD_FLOOR = 0.05


class NormalizationError(ValueError):
    """Statistics that cannot normalise: wrong shape, not finite, or no positive scale."""


@dataclass(frozen=True)
class Normalizer:
    """Map x to (x - mean) / std; `mean` and `std` are float32 [n] in the units of x."""

    mean: Array
    std: Array
    kind: str = 'zscore'

    def __post_init__(self) -> None:
        mean, std = (np.asarray(v, np.float32) for v in (self.mean, self.std))
        object.__setattr__(self, 'mean', mean)
        object.__setattr__(self, 'std', std)
        if self.kind not in KINDS:
            raise NormalizationError(f'normalisation kind {self.kind!r} is not one of {KINDS}')
        if mean.ndim != 1 or mean.shape != std.shape:
            raise NormalizationError(
                f'mean {mean.shape} and std {std.shape} must be vectors of one length')
        if not (np.isfinite(mean).all() and np.isfinite(std).all()):
            raise NormalizationError('mean and std must be finite')
        if std.size and std.min() <= 0:
            index = int(std.argmin())
            raise NormalizationError(f'std[{index}] = {std[index]} must be > 0')

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Normalizer) and self.kind == other.kind
                and np.array_equal(self.mean, other.mean) and np.array_equal(self.std, other.std))

    @property
    def size(self) -> int:
        """Length of the vectors this normalises."""
        return int(self.mean.size)

    @classmethod
    def from_data(cls, x: npt.ArrayLike, eps: float = STD_FLOOR) -> Normalizer:
        """Z-score of `x` [..., n]; a dimension with std below `eps` is scaled by `eps`."""
        rows = _rows(x)
        return cls(rows.mean(0), np.maximum(rows.std(0), eps))

    @classmethod
    def from_quantiles(cls, x: npt.ArrayLike, low: float = 0.01, high: float = 0.99,
                       eps: float = STD_FLOOR) -> Normalizer:
        """Send the `low` and `high` quantiles of `x` [..., n] to -1 and 1."""
        lo, hi = np.quantile(_rows(x), [low, high], axis=0)
        return cls((lo + hi) / 2, np.maximum((hi - lo) / 2, eps), 'quantile')

    @classmethod
    def identity(cls, size: int) -> Normalizer:
        """Leave vectors of length `size` as they are."""
        return cls(np.zeros(size, np.float32), np.ones(size, np.float32))

    def normalize(self, x: Any) -> Any:
        """Normalise `x` [..., n], a numpy array or a torch tensor (its dtype and device kept)."""
        mean, std = self._like(x)
        return (x - mean) / std

    def unnormalize(self, x: Any) -> Any:
        """Invert `normalize`."""
        mean, std = self._like(x)
        return x * std + mean

    def _like(self, x: Any) -> tuple[Any, Any]:
        if x.shape[-1] != self.size:
            raise NormalizationError(f'last dimension {x.shape[-1]} differs from {self.size}')
        if isinstance(x, np.ndarray):
            return self.mean, self.std
        return x.new_tensor(self.mean), x.new_tensor(self.std)

    def to_json(self) -> dict[str, Any]:
        """Return plain lists; float32 survives the round trip through JSON exactly."""
        return {'kind': self.kind, 'mean': [float(v) for v in self.mean],
                'std': [float(v) for v in self.std]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Normalizer:
        """Read what `to_json` wrote."""
        try:
            return cls(np.asarray(data['mean'], np.float32), np.asarray(data['std'], np.float32),
                       str(data.get('kind', 'zscore')))
        except KeyError as error:
            raise NormalizationError(f'normalisation lacks the key {error}') from None


def _rows(x: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(x, np.float64)
    rows = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(0, 1)
    if rows.shape[0] == 0:
        raise NormalizationError('no rows to take statistics of')
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(1).argmax())
        raise NormalizationError(f'row {bad} of {rows.shape[0]} holds NaN or infinity')
    return rows

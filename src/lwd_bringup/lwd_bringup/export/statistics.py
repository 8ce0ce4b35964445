# SPDX-License-Identifier: Apache-2.0
"""Statistics as LeRobot keeps them: min, max, mean, std, count and quantiles of every feature."""

from __future__ import annotations

from typing import Any

import numpy as np

QUANTILES = {'q01': 0.01, 'q10': 0.10, 'q50': 0.50, 'q90': 0.90, 'q99': 0.99}
FRAME_SAMPLES = 20  # of an episode and camera
PIXEL_STRIDE = 4  # every fourth row and column of a sampled frame


def vector_stats(rows: np.ndarray) -> dict[str, Any]:
    """Return the statistics of rows [N, ...] by column, as lists of at least one entry."""
    values = np.asarray(rows, np.float64).reshape(len(rows), -1)
    return {**_moments(values), 'count': [len(rows)]}


def image_stats(frames: list[np.ndarray]) -> dict[str, Any]:
    """Return the statistics of RGB frames uint8 [H, W, 3] by channel in [0, 1], each [3, 1, 1]."""
    pixels = np.concatenate([frame[::PIXEL_STRIDE, ::PIXEL_STRIDE].reshape(-1, 3)
                             for frame in frames]).astype(np.float64) / 255.0
    found = {name: [[[value]] for value in values] for name, values in _moments(pixels).items()}
    return {**found, 'count': [len(frames)]}


def _moments(values: np.ndarray) -> dict[str, list[float]]:
    found = {'min': values.min(0), 'max': values.max(0), 'mean': values.mean(0),
             'std': values.std(0)}
    found |= dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values()), axis=0)))
    return {name: array.tolist() for name, array in found.items()}


def sampled(length: int) -> np.ndarray:
    """Return the indices of the frames that statistics look at."""
    return np.unique(np.linspace(0, length - 1, min(length, FRAME_SAMPLES)).round().astype(int))


def merged_images(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge `image_stats` of several episodes; quantiles become their weighted means."""
    weights = np.array([part['count'][0] for part in parts], np.float64)
    stacked = {name: np.array([part[name] for part in parts]) for name in parts[0]}
    share = (weights / weights.sum()).reshape(-1, 1, 1, 1)
    mean = (share * stacked['mean']).sum(0)
    square = (share * (stacked['std'] ** 2 + stacked['mean'] ** 2)).sum(0)
    found = {'min': stacked['min'].min(0), 'max': stacked['max'].max(0), 'mean': mean,
             'std': np.sqrt(np.maximum(square - mean ** 2, 0.0))}
    found |= {name: (share * stacked[name]).sum(0) for name in QUANTILES}
    return {**{name: array.tolist() for name, array in found.items()},
            'count': [int(weights.sum())]}

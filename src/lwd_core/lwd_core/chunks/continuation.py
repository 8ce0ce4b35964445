# SPDX-License-Identifier: Apache-2.0
"""What a chunk that is planned while another one runs has to agree with."""

from __future__ import annotations

from dataclasses import dataclass
from math import e

import numpy as np
from numpy.typing import NDArray

GUIDED = 'guided'  # pulled towards the running chunk while sampling: works with any checkpoint
TRAINED = 'trained'  # given the rows that are certain to be executed: the checkpoint must know how
KINDS = (GUIDED, TRAINED)


@dataclass(frozen=True)
class Continuation:
    """The rows of the running chunk from the new one's tick on.

    `rows` [R, d], robot units, R < H: row i belongs to the tick of row i of the new chunk. The
    first `delay` of them will be executed before the new chunk can be there. `max_weight` bounds
    the guidance (beta); 0 takes the number of flow steps.
    """

    rows: NDArray[np.float32]
    delay: int
    kind: str = GUIDED
    max_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f'continuation: kind is {self.kind!r}, must be one of {KINDS}')
        if self.rows.ndim != 2 or not 0 <= self.delay <= len(self.rows):
            raise ValueError(f'continuation: delay is {self.delay} with rows of shape '
                             f'{self.rows.shape}, must be 0 to the number of rows')


def soft_weights(delay: int, end: int) -> NDArray[np.float64]:
    """Return c (e^c - 1) / (e - 1) for rows `delay` to `end` - 1, c falling linearly from 1 to 0.

    c_i = (end - i) / (end - delay + 1): neither 1 nor 0 is reached.
    """
    c = (end - np.arange(delay, end)) / (end - delay + 1)
    return np.asarray(c * np.expm1(c) / (e - 1))


def guidance_weights(horizon: int, delay: int, execute: int) -> NDArray[np.float32]:
    """Return how firmly each row [H] of a new chunk is held to the running one.

    `delay` d rows are certain to be executed and weigh 1, the last `execute` s rows are new and
    weigh 0, those between fall exponentially (Real-Time Chunking, arXiv 2506.07339, eq. 5).
    Raises ValueError unless 0 <= d <= H - s and 0 <= s.
    """
    overlap = horizon - execute
    if not (0 <= delay <= overlap <= horizon):
        raise ValueError(f'guidance: delay {delay} and execute {execute} must be at least 0 and '
                         f'together at most the horizon, which is {horizon}')
    return np.concatenate((np.ones(delay), soft_weights(delay, overlap), np.zeros(execute))
                          ).astype(np.float32)

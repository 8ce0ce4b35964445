# SPDX-License-Identifier: Apache-2.0
"""Instructions as vectors: signed hashing of words and word pairs, without a model to download."""

from __future__ import annotations

from functools import lru_cache
import hashlib
import re

import numpy as np
import numpy.typing as npt

DIM = 64
_WORD = re.compile(r'[a-z0-9]+')
_STOP = frozenset(('the', 'a', 'an', 'and', 'it', 'to', 'of'))


def embed(text: str, dim: int = DIM) -> npt.NDArray[np.float32]:
    """Return the unit vector float32 [dim] of an instruction; zeros when it has no word.

    Case, punctuation and filler words do not matter, word order does (pairs are hashed too).
    """
    return _embed(text, dim).copy()


@lru_cache(maxsize=1024)
def _embed(text: str, dim: int) -> npt.NDArray[np.float32]:
    vector = np.zeros(dim, np.float32)
    for token in _tokens(text):
        digest = hashlib.blake2b(token.encode(), digest_size=8).digest()
        index = int.from_bytes(digest[:4], 'little') % dim
        vector[index] += 1.0 if digest[4] & 1 else -1.0
    norm = float(np.linalg.norm(vector))
    return vector / np.float32(norm) if norm > 0 else vector


def _tokens(text: str) -> list[str]:
    words = [w for w in _WORD.findall(text.lower()) if w not in _STOP]
    return words + [f'{a} {b}' for a, b in zip(words, words[1:], strict=False)]

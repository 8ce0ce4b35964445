# SPDX-License-Identifier: Apache-2.0
"""Digests: what makes a file, a checkpoint or a robot specification the same one everywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 1 << 20


def sha256_bytes(data: bytes) -> str:
    """Return the sha256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path | str) -> str:
    """Return the sha256 of a file's content as 64 hex digits, reading block by block."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """Encode JSON data in the one form digests are taken of: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(',', ':'), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256_json(value: Any) -> str:
    """Return the sha256 of `value` in canonical JSON."""
    return sha256_bytes(canonical_json(value))

# SPDX-License-Identifier: Apache-2.0
"""The metrics of a run on disk: one JSON object a row, and events for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
import json
import math
from pathlib import Path
import time
from typing import Any

FILE = 'metrics.jsonl'
FOLDER = 'tensorboard'
GROUPS = {  # how TensorBoard's page is ordered; what is not named goes to 'train'
    'value': ('q_', 'v_', 'target_', 'tau', 'entropy', 'correction_'), 'loss': ('loss',),
    'gradient': ('_gradient', 'adjoint_'), 'speed': ('updates_per_second', 'data_wait_share'),
    'replay': ('replay_age', 'episodes_', 'transitions_', 'online_share_'),
}


class MetricsLog:
    """Appends rows; both files survive a restart and go on where they were."""

    def __init__(self, folder: Path, tensorboard: bool = True) -> None:
        """Write to `folder`; TensorBoard's events only if asked for."""
        self._path = folder / FILE
        self._events: Any = None
        self._folder = folder / FOLDER if tensorboard else None

    def write(self, step: int, phase: str, row: Mapping[str, float]) -> None:
        """Append one row; values that are not finite (no data) are null, and left out of events."""
        known = {name: value if math.isfinite(value) else None for name, value in row.items()}
        line = {'step': step, 'phase': phase, 'time': time.time(), **known}
        with open(self._path, 'a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')
        if self._folder is None:
            return
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter  # seconds to import: not at start
            self._events = SummaryWriter(str(self._folder), purge_step=step)
        for name, value in known.items():
            if value is not None:
                self._events.add_scalar(f'{group(name)}/{name}', value, step)

    def close(self) -> None:
        """Flush what is buffered."""
        if self._events is not None:
            self._events.close()
            self._events = None


def group(name: str) -> str:
    """Return the heading of a metric: the loss before the value it belongs to."""
    for heading in ('loss', 'gradient', 'speed', 'replay', 'value'):
        if any(part in name if part[0] == '_' or part == 'loss' else name.startswith(part)
               for part in GROUPS[heading]):
            return heading
    return 'train'

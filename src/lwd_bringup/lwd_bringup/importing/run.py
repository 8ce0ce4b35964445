# SPDX-License-Identifier: Apache-2.0
"""Import a dataset or a bag into a store, each demonstration exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
import tempfile

from lwd_bringup.export import lerobot_format as lr
from lwd_bringup.export.errors import ExchangeError
from lwd_bringup.importing.demonstration import Demonstration, OUTCOMES, write_demonstration
from lwd_bringup.importing.lerobot import LeRobotSource
from lwd_bringup.importing.mapping import Mapping
from lwd_bringup.importing.rosbag2 import read_rosbag2
from lwd_core.robot import RobotSpec
from lwd_core.store import open_store

Say = Callable[[str], None]


def import_demonstrations(source: Path, store: str, robot_file: Path, task: str,
                          instruction: str = '', outcome: str = 'success',
                          mapping_file: Path | None = None, robot_name: str = '',
                          say: Say = lambda line: None) -> tuple[int, int]:
    """Import; return (episodes added, episodes that were there already).

    Raises ExchangeError, SpecError or StoreError naming what is wrong; what was imported before
    stays, and the next call goes on from there.
    """
    if outcome not in OUTCOMES:
        raise ExchangeError(f'--outcome: {outcome!r} is not one of {", ".join(OUTCOMES)}')
    if not source.exists():
        raise ExchangeError(f'{source} does not exist')
    robot = RobotSpec.from_yaml(robot_file)
    mapping = Mapping.from_yaml(mapping_file, robot) if mapping_file else Mapping()
    opened = open_store(store)
    added = known = 0
    with tempfile.TemporaryDirectory(prefix='lwd-import-') as scratch:
        for demo in _demonstrations(source, robot, mapping, task, instruction, outcome, say):
            meta = write_demonstration(opened, robot, robot_name or robot.name, demo,
                                       Path(scratch))
            added, known = added + (meta is not None), known + (meta is None)
            say(f'{demo.source.path}: ' + (f'{meta.id}, {len(demo.actions)} ticks, {meta.outcome}'
                                           if meta else 'was there already'))
    return added, known


def _demonstrations(source: Path, robot: RobotSpec, mapping: Mapping, task: str, instruction: str,
                    outcome: str, say: Say) -> Iterator[Demonstration]:
    if (source / lr.INFO).is_file():
        for demo in LeRobotSource(source, robot, mapping).demonstrations(task, outcome):
            demo.instruction = instruction or demo.instruction
            yield demo
        return
    yield read_rosbag2(source, robot, mapping, task, instruction or task, outcome, say)

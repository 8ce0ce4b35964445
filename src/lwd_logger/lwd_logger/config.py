# SPDX-License-Identifier: Apache-2.0
"""The recorder's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from lwd_core.params import param, ParamError

MIB = 1 << 20


@dataclass(frozen=True)
class RecorderParams:
    """Everything that can be set from outside."""

    robot_file: str = param('', 'robot file (YAML); names joints, cameras and the command topic')
    robot: str = param('', 'name under which episodes are stored; empty: the namespace')
    store: str = param('', 'folder of the store')
    spool: str = param('', 'folder bags are written in before they go to the store; empty: '
                           '<store>/.spool/<robot>')
    raw_cameras: tuple[str, ...] = param(
        (), 'cameras recorded as raw images instead of compressed ones')
    pre_roll: float = param(0.5, 'how much of the time before READY goes into the bag', unit='s',
                            lower=0.0, upper=60.0)
    pre_roll_mib: int = param(32, 'memory for the pre-roll', unit='MiB', lower=1, upper=4096)
    queue_mib: int = param(256, 'memory between the subscriptions and the disk; beyond it messages '
                                'are lost and counted', unit='MiB', lower=1, upper=65536)
    flush_period: float = param(1.0, 'a crash costs at most this much of a recording', unit='s',
                                lower=0.05, upper=60.0)
    disk_warn_mib: int = param(2048, 'warn when less is free', unit='MiB', lower=0, upper=1 << 24)
    disk_stop_mib: int = param(512, 'refuse new episodes when less is free', unit='MiB', lower=0,
                               upper=1 << 24)
    retry_period: float = param(10.0, 'pause between tries to hand an episode to the store',
                                unit='s', lower=0.1, upper=3600.0)

    def __post_init__(self) -> None:
        if self.disk_warn_mib < self.disk_stop_mib:
            raise ParamError(f'parameter disk_warn_mib: {self.disk_warn_mib} MiB refused, must be '
                             f'at least disk_stop_mib, {self.disk_stop_mib} MiB')

# SPDX-License-Identifier: Apache-2.0
"""The parameters of the recorder and the uploader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import re

from lwd_core.episode.mcap_file import COMPRESSIONS
from lwd_core.params import param, ParamError
from lwd_core.store import is_bucket

MIB = 1 << 20
_NAME = re.compile(r'[A-Za-z_][A-Za-z0-9_]{0,63}')


@dataclass(frozen=True)
class RecorderParams:
    """Everything that can be set from outside."""

    robot_file: str = param('', 'robot file (YAML); names joints, cameras and the command topic')
    robot: str = param('', 'name under which episodes are stored; empty: the namespace')
    store: str = param('', 'where episodes go in the end: a folder, or s3://bucket/prefix')
    local_store: str = param('', 'folder for finished episodes until the uploader has brought them '
                                 'to `store`; empty: straight to `store`, which must be a folder')
    spool: str = param('', 'folder bags are written in; empty: .spool/<robot> in the local store')
    raw_cameras: tuple[str, ...] = param(
        (), 'cameras recorded as raw images instead of compressed ones')
    compression: str = param('none', 'of the bag; JPEG gains nothing', choices=COMPRESSIONS)
    pre_roll: float = param(0.5, 'how much of the time before READY goes into the bag', unit='s',
                            lower=0.0, upper=60.0)
    pre_roll_mib: int = param(32, 'memory for the pre-roll', unit='MiB', lower=1, upper=4096)
    queue_mib: int = param(256, 'memory between the subscriptions and the disk; beyond it messages '
                                'are lost and counted', unit='MiB', lower=1, upper=65536)
    flush_period: float = param(0.5, 'a crash costs at most this much of a recording', unit='s',
                                lower=0.05, upper=1.0)
    sync_period: float = param(1.0, 'a power cut costs about this much', unit='s', lower=0.1,
                               upper=60.0)
    bag_max_gib: float = param(32.0, 'a bag is closed at this size', unit='GiB', lower=0.001,
                               upper=60.0)
    disk_warn_mib: int = param(2048, 'warn when less is free', unit='MiB', lower=0, upper=1 << 24)
    disk_stop_mib: int = param(512, 'refuse new episodes when less is free; one that runs may use '
                                    'three quarters of it', unit='MiB', lower=0, upper=1 << 24)
    retry_period: float = param(10.0, 'pause between tries to hand an episode to the store',
                                unit='s', lower=0.1, upper=3600.0)

    def __post_init__(self) -> None:
        if self.disk_warn_mib < self.disk_stop_mib:
            raise ParamError(f'parameter disk_warn_mib: {self.disk_warn_mib} MiB refused, must be '
                             f'at least disk_stop_mib, {self.disk_stop_mib} MiB')

    @property
    def folder(self) -> str:
        """Return the folder that finished episodes are handed to."""
        return _folder(self.local_store, self.store)


@dataclass(frozen=True)
class UploaderParams:
    """Everything that can be set from outside."""

    store: str = param('', 'where episodes go: a folder, or s3://bucket/prefix; credentials come '
                           'from the environment only')
    local_store: str = param('', 'folder the recorder hands finished episodes to')
    robot: str = param('', 'whose episodes; empty: the namespace')
    rate_limit: float = param(0.0, 'upload rate, 0: as fast as it goes', unit='MB/s', lower=0.0,
                              upper=10_000.0)
    poll_period: float = param(2.0, 'pause between looks for new episodes', unit='s', lower=0.1,
                               upper=3600.0)
    retry_min: float = param(1.0, 'pause after the first failure; it doubles', unit='s', lower=0.1,
                             upper=3600.0)
    retry_max: float = param(300.0, 'longest pause between two tries', unit='s', lower=0.1,
                             upper=86400.0)
    read_back: bool = param(True, 'have the store give back every bag and compare digests; without '
                                  'it the checksum that the server made on arrival is trusted')
    keep_days: float = param(7.0, 'how long a confirmed episode stays here too', unit='d',
                             lower=0.0, upper=3650.0)
    keep_gib: float = param(100.0, 'confirmed episodes beyond this are removed, oldest first',
                            unit='GiB', lower=0.0, upper=1e6)
    keep_free_mib: int = param(4096, 'confirmed episodes are removed while less is free',
                               unit='MiB', lower=0, upper=1 << 24)

    def __post_init__(self) -> None:
        if not self.store or not self.local_store:
            name = 'store' if not self.store else 'local_store'
            raise ParamError(f"parameter {name}: '' refused, the uploader needs both stores")
        _folder(self.local_store, self.store)
        if not is_bucket(self.store) and (
                Path(self.store).expanduser().resolve()
                == Path(self.local_store).expanduser().resolve()):
            raise ParamError(f'parameter local_store: {self.local_store!r} refused, it is the '
                             'store itself: nothing would have to be uploaded')
        if self.retry_max < self.retry_min:
            raise ParamError(f'parameter retry_max: {self.retry_max} s refused, must be at least '
                             f'retry_min, {self.retry_min} s')


def check_robot_name(name: str) -> str:
    """Return a robot's name if it can be a namespace and a folder; ParamError otherwise."""
    if not _NAME.fullmatch(name):
        raise ParamError(f'parameter robot: {name!r} refused, must be 1 to 64 letters, digits and '
                         '"_", not starting with a digit')
    return name


def _folder(local_store: str, store: str) -> str:
    folder = local_store or store
    if not folder:
        raise ParamError("parameter store: '' refused, must name the store")
    if is_bucket(folder):
        raise ParamError("parameter local_store: '' refused, `store` is a bucket: name a folder "
                         'for finished episodes until the uploader has brought them there'
                         if not local_store else
                         'parameter local_store: a bucket was refused, must be a folder')
    return folder

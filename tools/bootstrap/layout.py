# SPDX-License-Identifier: Apache-2.0
"""Where things lie in a checkout, and which ROS 2 it is built against."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

WHEELS = 'wheels'


@dataclass(frozen=True)
class Layout:
    """Paths of one checkout. Everything generated lies in .venv, build, install and log."""

    root: Path

    @property
    def venv(self) -> Path:
        """Return the virtual environment."""
        return self.root / '.venv'

    @property
    def python(self) -> Path:
        """Return the environment's interpreter."""
        return self.venv / 'bin' / 'python'

    @property
    def state(self) -> Path:
        """Return the folder of the setup's own records: stamps, logs, the lock."""
        return self.venv / '.lwd'

    @property
    def install(self) -> Path:
        """Return colcon's install space."""
        return self.root / 'install'

    @property
    def src(self) -> Path:
        """Return the workspace's packages."""
        return self.root / 'src'

    @property
    def requirements(self) -> Path:
        """Return the folder of pinned requirements."""
        return self.root / 'requirements'


def ros_source(recorded: str | None, environ: Mapping[str, str]) -> str:
    """
    Return 'wheels', or the distribution name of the sourced ROS 2 installation.

    A checkout keeps what it was set up with: an installation that is no longer sourced is found
    again through the install space. Raises ValueError for a switch, which needs a clean start.
    """
    sourced = environ.get('ROS_DISTRO') or None
    if recorded is None:
        return sourced or WHEELS
    if sourced and sourced != recorded:
        raise ValueError(
            f"this checkout was set up with ROS 2 from '{recorded}', now '{sourced}' is sourced: "
            'run: make distclean && make setup')
    return recorded

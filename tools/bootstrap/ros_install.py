# SPDX-License-Identifier: Apache-2.0
"""What pip must add beside a ROS 2 installation, without shadowing what apt brought."""
from __future__ import annotations

from collections.abc import Callable
import importlib.metadata
import importlib.util
from pathlib import Path
import re

# Import names where they differ from the distribution's name.
MODULES = {
    'opencv-python-headless': 'cv2', 'pyyaml': 'yaml', 'rosbags-image': 'rosbags.image',
    'mcap-ros2-support': 'mcap_ros2',
}
# apt's cv_bridge is compiled against apt's NumPy: pip must not bring another one.
KEEP_SYSTEM = ('numpy', 'opencv-python-headless', 'pyyaml', 'matplotlib', 'psutil', 'jinja2')
BUILD_ONLY = ('setuptools',)


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirement_names(text: str) -> list[str]:
    """Return the distribution names in a requirements file, in order, each once."""
    names = [match.group(1).lower() for line in text.splitlines()
             if (match := re.match(r'([A-Za-z0-9][A-Za-z0-9._-]*)', line))]
    return list(dict.fromkeys(names))


def loose_requirements(
    wanted: Path, locked: Path, importable: Callable[[str], bool] = _importable,
    version: Callable[[str], str | None] = _version,
) -> tuple[list[str], list[str]]:
    """
    Return what pip must install and the constraints for it.

    What the system has of KEEP_SYSTEM stays at the system's version; the rest is pinned as locked.
    """
    pins = locked.read_text().splitlines()
    install, constraints = [], []
    kept = set()
    for name in requirement_names(wanted.read_text()):
        if name in BUILD_ONLY:
            continue
        if name in KEEP_SYSTEM and importable(MODULES.get(name, name)):
            kept.add(name)
            system = version(name)
            if system is not None:
                constraints.append(f'{name}=={system}')
        else:
            install.append(name)
    top = set(install) - kept
    constraints += [line for line in pins if line.split('==')[0] in top]
    return install, constraints

# SPDX-License-Identifier: Apache-2.0
"""Where configuration lives: the source checkout first, else the installed share folder."""

import os
from pathlib import Path


def config_dir() -> Path:
    """
    Return the folder that holds `robots/`, `tasks/`, `params/` and `demo.yaml`.

    `LWD_CONFIG` overrides. Raises FileNotFoundError naming every place that was tried.
    """
    tried = [path for path in _candidates() if path is not None]
    for path in tried:
        if (path / 'params').is_dir():
            return path
    places = ', '.join(str(path) for path in tried)
    raise FileNotFoundError(f'no config folder in {places}: set LWD_CONFIG to it')


def checkout_dir() -> Path | None:
    """Return the root of the source checkout this module runs from, None if installed."""
    for parent in Path(__file__).resolve().parents:
        if (parent / 'config' / 'params').is_dir() and (parent / 'src').is_dir():
            return parent
    return None


def _candidates() -> list[Path | None]:
    override = os.environ.get('LWD_CONFIG')
    if override:
        return [Path(override)]
    checkout = checkout_dir()
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    shares = [Path(p) / 'share' / 'lwd_bringup' / 'config' for p in prefixes if p]
    return [checkout / 'config' if checkout else None, *shares]


def default_store() -> str:
    """Return the store that commands use when none is named (`LWD_STORE`, else ./data/store)."""
    return os.environ.get('LWD_STORE') or str(Path('data') / 'store')

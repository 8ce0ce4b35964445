# SPDX-License-Identifier: Apache-2.0
"""Put a session together from files."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from lwd_core.robot import RobotSpec
from lwd_core.spec import SpecError
from lwd_intervention.teleop.arms import Arms
from lwd_intervention.teleop.joystick import JoystickSource
from lwd_intervention.teleop.leader import LeaderConfig, LeaderSource, load_leader
from lwd_intervention.teleop.mapping import Mapping
from lwd_intervention.teleop.session import Session, SessionConfig
from lwd_intervention.teleop.source import TeleopSource


def find_mapping(name: str, folder: str, device: str = '') -> Mapping:
    """Return a mapping by path, by name, or for 'auto' the one whose name or `match` fits `device`.

    An unknown gamepad gets `xbox`: all gamepads come in the same layout.
    """
    if name.endswith('.yaml'):
        return Mapping.from_yaml(name)
    path = Path(folder) / f'{name}.yaml'
    if name != 'auto' and path.is_file():
        return Mapping.from_yaml(path)
    known = sorted(file.stem for file in Path(folder).glob('*.yaml'))
    if name != 'auto':
        raise SpecError(f'mapping {name!r}: no {path}; there are {", ".join(known)}')
    mappings = [Mapping.from_yaml(Path(folder) / f'{stem}.yaml') for stem in known]
    return best_match(mappings, device)


def best_match(mappings: list[Mapping], device: str) -> Mapping:
    """Return the mapping with the longest `match` in a device's name, else the generic gamepad."""
    def fit(mapping: Mapping) -> int:
        own = [len(part) for part in mapping.match if part in device.lower()]
        return max(own, default=0)

    best = max(mappings, key=fit)
    if fit(best) > 0:
        return best
    generic = [mapping for mapping in mappings if mapping.name == 'xbox']
    if not generic:
        raise SpecError(f'no mapping fits device {device!r} and there is no xbox.yaml to fall '
                        'back to; name a mapping')
    return generic[0]


def build_session(mapping: Mapping, robot: RobotSpec, arms_file: str, source: str,
                  config: SessionConfig, leader_file: str = '',
                  leader: LeaderConfig | None = None) -> Session:
    """Return the session of a joystick or of leader arms; SpecError where files do not fit."""
    arms = Arms.from_yaml(arms_file, robot)
    strange = [arm for arm in mapping.arms if arm not in arms.names]
    if strange:
        raise SpecError(f'mapping {mapping.name}: deadman: arm {strange[0]!r} is not in {arms_file}'
                        f', which has {", ".join(arms.names)}')
    made: TeleopSource
    if source == 'leader':
        made = LeaderSource(robot, load_leader(leader_file, robot), arms.names, leader)
    elif source == 'joystick':
        made = JoystickSource(mapping, arms, robot)
    else:
        made = _foreign(source)(mapping, arms, robot)
    return Session(mapping, made, config)


def _foreign(source: str) -> Any:
    """Return the class that 'module:Class' names: somebody's own TeleopSource."""
    module, _, name = source.partition(':')
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError(f'source {source!r}: must be joystick, leader, or a class as '
                        f"'package.module:Class' ({error})") from error

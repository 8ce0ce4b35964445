# SPDX-License-Identifier: Apache-2.0
"""The teleoperation node's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from lwd_core.params import param, ParamError


@dataclass(frozen=True)
class TeleopParams:
    """Parameters of the teleoperation node."""

    robot_file: str = param('', 'robot YAML: joints, limits, control rate')
    robot: str = param('', 'robot name, for the log')
    arms_file: str = param('', 'arms YAML: kinematic model, tool and base of each arm')
    mapping: str = param('auto', "mapping by name or path; 'auto': by the device's name")
    mapping_dir: str = param('', 'folder of the mappings (config/teleop)')
    source: str = param('joystick', 'what moves the arms: joystick, leader, or a TeleopSource of '
                        "your own as 'package.module:Class'")
    operator_name: str = param('operator', 'who drives, in takeovers and labels')
    leader_file: str = param('', "leader YAML: joint names, signs, offsets; '': equal names")
    align: str = param('clutch', 'how a takeover by leader arms begins',
                       choices=('clutch', 'match'))
    align_speed: float = param(0.4, 'speed of joints while they meet the leader', unit='rad/s',
                               lower=0.01, upper=2.0)
    task: str = param('', 'task that the start button runs')
    start_mode: str = param('human', 'who drives from the start the button gives',
                            choices=('human', 'policy'))
    time_limit: float = param(0.0, "of an episode that the start button starts; 0: the task's own",
                              unit='s', lower=0.0, upper=36000.0)
    max_age: float = param(0.15, 'age of the newest Joy or leader message before HOLD', unit='s',
                           lower=0.01, upper=1.0)
    frozen_after: float = param(
        3.0, 'sticks held without any change before HOLD, since a dead wireless device looks like '
        'that; 0: never', unit='s', lower=0.0, upper=60.0)
    await_joy: bool = param(False, 'answer each tick with the Joy of that tick: for a scripted '
                            'device in a lockstep simulation')

    def __post_init__(self) -> None:
        """Refuse to start without files."""
        for name, example in (('robot_file', 'config/robots/sim.yaml'),
                              ('arms_file', 'config/teleop/arms/sim.yaml')):
            if not getattr(self, name):
                raise ParamError(f"parameter {name}: '' refused, name a YAML file (e.g. {example})")
        if not self.mapping_dir and not self.mapping.endswith('.yaml'):
            raise ParamError("parameter mapping_dir: '' refused, name the folder of the mappings "
                             '(e.g. config/teleop)')

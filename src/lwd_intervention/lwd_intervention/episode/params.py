# SPDX-License-Identifier: Apache-2.0
"""The episode node's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from lwd_core.params import param, ParamError


@dataclass(frozen=True)
class EpisodeParams:
    """Parameters of the episode node."""

    robot_file: str = param('', 'robot YAML: control rate')
    robot: str = param('', "robot name in episode ids; '' takes the one of the robot file")
    tasks_file: str = param('', 'task YAML: names, instructions, time limits')
    use_reset_scene: bool = param(False, 'call reset_scene before each episode')
    require_recorder: bool = param(True, 'run only while the recorder records the episode')
    require_policy: bool = param(True, 'start with POLICY only if policy/status says READY')
    require_arbiter: bool = param(True, 'run only if an arbiter told its control_mode')
    auto_success: bool = param(
        False, "take the outcome from the topic 'success': its rise, or FAILURE at the time limit")
    success_service: str = param(
        '', 'std_srvs/Trigger service that tells whether the task is done, asked while an episode '
        "runs: success ends it, FAILURE at the time limit; '' asks nobody")
    success_period: float = param(
        0.5, 'pause between two questions to success_service, wall time', unit='s', lower=0.05,
        upper=60.0)
    reset_timeout: float = param(
        30.0, 'wait for reset_scene, wall time', unit='s', lower=0.1, upper=3600.0)
    prepare_timeout: float = param(
        30.0, 'wait for recorder, policy and arbiter, wall time', unit='s', lower=0.1, upper=3600.0)
    label_timeout: float = param(
        30.0, 'wait for a label before the episode stays UNLABELLED, wall time', unit='s',
        lower=0.0, upper=3600.0)
    settle_ticks: int = param(
        4, 'control ticks between reset_scene and the first tick of an episode: the sensors must '
        'show the new scene; above the ticks a simulation needs to settle', lower=0, upper=1000)
    loss_timeout: float = param(
        15.0, 'without a clock or an arbiter before a running episode stops, wall time', unit='s',
        lower=0.1, upper=3600.0)

    def __post_init__(self) -> None:
        """Refuse to start without the two files."""
        for name in ('robot_file', 'tasks_file'):
            if not getattr(self, name):
                raise ParamError(f"parameter {name}: '' refused, name a YAML file "
                                 f"(e.g. config/{name.split('_')[0].rstrip('s')}s/sim.yaml)")

# SPDX-License-Identifier: Apache-2.0
"""The arbiter node's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from lwd_core.params import param, ParamError


@dataclass(frozen=True)
class ArbiterParams:
    """Parameters of the arbiter node."""

    robot_file: str = param('', 'robot YAML: joints, limits, control rate, command interface')
    robot: str = param('', "robot name; '' takes the one of the robot file")
    max_gap_periods: int = param(
        2, 'control periods without an executed command before HOLD', lower=1, upper=50)
    first_command_timeout: float = param(
        1.0, 'patience for the first command after a change of driver', unit='s',
        lower=0.0, upper=10.0)
    resume_after_starvation: bool = param(
        True, 'let a starved policy drive again once it is back; never done for a person')
    require_policy: bool = param(True, 'POLICY only while policy/status says READY or ACTING')
    max_plan_age: float = param(
        3.0, 'age of the observation that a policy action was planned from; older: not executed',
        unit='s', lower=0.01, upper=60.0)
    raised: bool = param(
        True, 'on wall time, run with the best priority the system permits (LimitRTPRIO), so that '
        'a busy machine cannot delay a takeover')
    hold_on_second_writer: bool = param(
        True, 'HOLD, and nobody may drive, while another node publishes the command topic too')
    hold_rate: float = param(
        25.0, 'ticks per wall second that HOLD answers on simulated time, so that an idle lockstep '
        'simulation does not burn the CPU; 0: at once', unit='Hz', lower=0.0, upper=10000.0)
    answer_timeout: float = param(
        1.0, 'wall time a tick may stand open on simulated time before it is answered with a hold; '
        "keep it below the simulation's lockstep_timeout", unit='s', lower=0.01, upper=60.0)

    def __post_init__(self) -> None:
        """Refuse to start without a robot."""
        if not self.robot_file:
            raise ParamError("parameter robot_file: '' refused, name a robot YAML "
                             '(e.g. config/robots/sim.yaml)')

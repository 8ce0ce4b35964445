# SPDX-License-Identifier: Apache-2.0
"""What a driver needs before it may drive, and why a request or an action of his is refused."""

from __future__ import annotations

from lwd_core.clock import NS_PER_S
from lwd_core.topics import CommandTag
from lwd_intervention.arbiter.records import ArbiterConfig
from lwd_intervention.arbiter.watch import Surroundings
from lwd_intervention.modes import allowed, Cause, DRIVERS, Mode


class Permits:
    """The policy's readiness, the surroundings, and the refusals that follow from them."""

    def __init__(self, config: ArbiterConfig, period_ns: int) -> None:
        """Start with nothing heard; `period_ns` is the control period."""
        self.around = Surroundings(config.max_joint_age)
        self.checkpoint = ''  # digest the policy acts with
        self._config, self._period = config, period_ns
        self._policy_ready = False
        self._policy_reason = 'no policy/status yet'

    def take_policy(self, ready: bool, reason: str, checkpoint: str) -> None:
        """Take whether the policy can act, why not, and the digest it acts with."""
        self._policy_ready, self._policy_reason = ready, reason or 'not ready'
        self.checkpoint = checkpoint

    @property
    def policy_can_act(self) -> bool:
        """Tell whether POLICY may be entered as far as the policy is concerned."""
        return self._policy_ready or not self._config.require_policy

    @property
    def blocked(self) -> str:
        """Return why nobody may drive, '' if somebody may."""
        return self.around.other_writers() if self._config.hold_on_second_writer else ''

    def may_resume(self, now: int | None) -> bool:
        """Tell whether a starved policy may drive again at tick `now`."""
        return now is not None and self.policy_can_act and not (
            self.around.old_joints(now) or self.blocked)

    def refuse_request(self, current: Mode, mode: Mode, running: bool) -> str | None:
        """Return why a requested mode is not granted and what to do; None if it is."""
        if mode is current:
            return None
        if not allowed(current, mode, Cause.REQUEST):
            return (f'{current.name} to {mode.name} is not allowed; '
                    'release the emergency stop by requesting HOLD first')
        if mode in DRIVERS and self.blocked:
            return f'{self.blocked}; stop it, only the arbiter may command the robot'
        if mode is Mode.POLICY and not running:
            return 'POLICY needs a running episode; start one (episode/start)'
        if mode is Mode.POLICY and not self.policy_can_act:
            return f'the policy is not ready: {self._policy_reason}; stay or request HOLD'
        return None

    def refuse_plan(self, tick: int, tag: CommandTag, epoch: int, since: int) -> str | None:
        """Return why a row of a chunk is not executed at `tick`; row 0 is the tick it saw.

        epoch, since: of the present mode, and its first tick [ns].
        """
        age = tag.index * self._period
        if tag.epoch != epoch:
            return 'planned in another epoch'
        if tick - age < since:
            return 'planned from an observation before the mode change'
        if age > self._config.max_plan_age * NS_PER_S:
            return 'planned from an observation too old'
        return None

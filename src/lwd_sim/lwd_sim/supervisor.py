# SPDX-License-Identifier: Apache-2.0
"""When a watching operator takes over from the policy, and when he hands back.

Called once per control step. While the policy drives, `watch` answers with a reason to take over or
None; while the operator drives, it answers with a reason to hand back or None. He takes over when
nothing gets better, when an item is about to fall, when what was reached is lost, when a jaw closes
on nothing, or when time is running out; he hands back when the stage he took over in is done and
stays done. After `max_takeovers` he finishes the episode himself. Where he gets nowhere himself he
gives up.
"""
from dataclasses import dataclass, field

from lwd_sim.dangers import danger, jammed, UPRIGHT
from lwd_sim.names import ARMS
from lwd_sim.progress import Progress, progress
from lwd_sim.world import World

SHORT_STAGES = 5      # gain and loss are shares of a task with up to so many stages


@dataclass(frozen=True)
class SupervisorConfig:
    """Patience of the operator; ticks are control steps."""

    patience: int = 25            # ticks without progress before taking over
    gain: float = 0.01            # progress that counts as getting better
    loss: float = 0.12            # progress lost against the best before taking over
    lost_for: int = 6             # ticks it must stay lost: a grip may slip and catch again
    empty_grasp: int = 6          # ticks a jaw may stay closed on nothing
    jam: int = 12                 # ticks an item may stay pressed against a shelf's front
    min_correction: int = 12      # ticks he drives at least
    stable: int = 4               # ticks the next stage must hold before he hands back
    max_takeovers: int = 4
    time_reserve: float = 1.6     # he keeps this many times the time he usually needs
    hand_back: bool = True
    give_up: int = 100            # ticks of his own without progress: beyond repair


@dataclass
class Supervisor:
    """Follows one episode."""

    time_limit: int               # control steps
    usual_time: int               # control steps he needs for the whole task
    config: SupervisorConfig = field(default_factory=SupervisorConfig)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start a new episode with the policy driving."""
        self.takeovers = 0
        self.human = False
        self._restart(None, 0)

    def _restart(self, now: Progress | None, step: int) -> None:
        """Begin to judge anew: whoever drives now is judged by what happens from here."""
        self._best = -1.0 if now is None else now.value
        self._best_step = self._since = step
        self._stage = 0 if now is None else now.stage
        self._vain = 0
        self._stable = self._lost = self._jam = 0
        self._empty = dict.fromkeys(ARMS, 0)

    @property
    def gives_up(self) -> bool:
        """Tell whether the operator himself gets nowhere: a toppled crate, an item out of reach."""
        return self.human and self._vain >= self.config.give_up

    def watch(self, world: World) -> str | None:
        """Return why the driver changes now, or None; call exactly once per control step."""
        now = progress(world)
        reason = self._hand_back(now, world) if self.human else self._take_over(now, world)
        if reason is not None:
            self.takeovers += not self.human
            self.human = not self.human
            self._restart(now, world.steps)
        return reason

    def _take_over(self, now: Progress, world: World) -> str | None:
        config, step = self.config, world.steps
        scale = _scale(now)
        if now.value > self._best + scale * config.gain:
            self._best, self._best_step = now.value, step
        needed = config.time_reserve * self.usual_time * (1.0 - now.value)
        empty = self._closed_on_nothing(world)
        threat = danger(world, world.focus())
        if threat is not None and step > self._since + 1:
            return threat
        if self.time_limit - step < needed:
            return f'time is running out at "{now.name}"'
        self._lost = self._lost + 1 if now.value < self._best - scale * config.loss else 0
        if self._lost >= config.lost_for:
            return f'lost what was reached, back at "{now.name}"'
        if empty is not None:
            return f'{empty} jaw closed on nothing'
        self._jam = self._jam + 1 if jammed(world, world.focus()) else 0
        if self._jam >= config.jam:
            return f'pressed against the shelf at "{now.name}"'
        if step - self._best_step >= config.patience:
            return f'no progress at "{now.name}"'
        return None

    def _closed_on_nothing(self, world: World) -> str | None:
        item = world.focus().item
        for arm in ARMS:
            empty = world.jaw(arm) < 0.13 and not world.pads_touching(arm, item)
            self._empty[arm] = self._empty[arm] + 1 if empty else 0
            if self._empty[arm] >= self.config.empty_grasp:
                return arm
        return None

    def _hand_back(self, now: Progress, world: World) -> str | None:
        config = self.config
        self._vain += 1
        if now.value > self._best + _scale(now) * config.gain:
            self._best, self._vain = now.value, 0
        good = now.stage > self._stage and world.tilt(world.focus().item) < UPRIGHT
        self._stable = self._stable + 1 if good else 0
        if not config.hand_back or self.takeovers >= config.max_takeovers:
            return None
        needed = config.time_reserve * self.usual_time * (1.0 - now.value)
        if self.time_limit - world.steps < needed + 2 * config.patience:
            return None
        if world.steps - self._since < config.min_correction or self._stable < config.stable:
            return None
        return f'corrected up to "{now.name}"'


def _scale(now: Progress) -> float:
    """Return how much less of a long task than of a short one a stage is."""
    return min(1.0, SHORT_STAGES / now.stages)

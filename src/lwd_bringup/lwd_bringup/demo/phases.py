# SPDX-License-Identifier: Apache-2.0
"""
The phases in their order: demonstrate, sft, deploy, dagger, evaluate, illustrate.

Each starts the processes it needs, waits for its condition or its time, and stops them. Data goes
from phase to phase through the store only, as between robots and learner.
"""

from collections.abc import Iterable
import time
from typing import Any

from lwd_bringup.demo.config import DemoConfig
from lwd_bringup.demo.errors import DemoError
from lwd_bringup.demo.fleet import fleet_processes, Stage
from lwd_bringup.demo.learner_config import chunk_rhythm, write_learner_config
from lwd_bringup.demo.live import LiveView
from lwd_bringup.demo.state import DemoState
from lwd_bringup.demo.summary import POLICIES
from lwd_bringup.demo.watch import StoreWatch
from lwd_bringup.demo.worker import job, result
from lwd_bringup.runner import ProcessSpec
from lwd_core.checkpoint import list_checkpoints, read_channel
from lwd_core.episode.meta import EpisodeMeta

THREADS = 1        # of training: two that wait for each other crawl on a shared machine
BLOCK = 10         # held-out starts rolled out together, per task
FINISHED = ('success', 'failure')
PATIENCE = 3.0     # a job may take so many times its budget before it counts as stuck
JOYSTICK_TASK = 'place'   # demonstrated as a person would; the others straight to the joints
SLACK_S = 60.0     # for loading and saving around a job's budget


def robots_with_news(metas: Iterable[EpisodeMeta]) -> set[str]:
    """Return the robots that finished an episode with what was learned, not with SFT (step 0)."""
    return {meta.robot for meta in metas if any(one['step'] > 0 for one in meta.checkpoints)}


class Phases:
    """One run; `seconds` by phase, `rows` of the evaluation, `pictures` for the report."""

    def __init__(self, config: DemoConfig, state: DemoState, view: LiveView) -> None:
        self.config, self.state, self.view = config, state, view
        self.watch = StoreWatch(config.store)
        self.seconds: dict[str, float] = {}
        self.digests: dict[str, str] = {}
        self.rows: list[dict[str, Any]] = []
        self.pictures: dict[str, Any] = {}
        self.learner_config = write_learner_config(config)
        self.execute_steps, self.lookahead = chunk_rhythm()

    def run(self) -> None:
        """Run all phases."""
        for phase in (self.demonstrate, self.sft, self.deploy, self.dagger, self.evaluate,
                      self.illustrate):
            began = time.monotonic()
            result_text = phase()
            self.seconds[phase.__name__] = time.monotonic() - began
            self.view.end(result_text)

    def deployed(self) -> list[EpisodeMeta]:
        """Return the episodes of the deployment that ran to their end, in the order recorded."""
        self.watch.refresh()
        return [meta for meta in self.watch.by_mode('policy') if meta.outcome in FINISHED]

    def published(self) -> int:
        """Count the checkpoints that robots could load: SFT and the learner's."""
        peers = {self.digests.get('dagger')}
        return sum(ref.digest not in peers for ref in list_checkpoints(self.watch.store))

    def demonstrate(self) -> str:
        """Let the operators demonstrate until there are enough successes."""
        config = self.config
        specs = fleet_processes(config, 'demonstrate', operator='demonstrate', learner=False,
                                policy=False, seed=config.demonstrate_seed,
                                **self._joystick())
        with Stage(config, 'demonstrate', specs, self.state, self.view) as stage:
            stage.run(config.demonstrate_s + config.startup_s, self._alive(
                config.startup_s, lambda: self.watch.successes() >= config.demonstrations))
        self.watch.refresh()
        if not self.watch.successes():
            raise DemoError(f'no successful demonstration was recorded; logs in {config.run_dir}')
        return f'{self.watch.successes()} demonstrations of {len(self.watch.metas)} episodes'

    def _joystick(self) -> dict[str, str]:
        """Return how the operator moves the arms: one task through joystick, deadman and IK."""
        if JOYSTICK_TASK not in self.config.tasks:
            return {}
        return {'operator_teleop': 'joystick', 'joystick_tasks': JOYSTICK_TASK}

    def sft(self) -> str:
        """Clone the demonstrations; the policy is published on the robots' channel."""
        done = self._train('sft', self.config.sft_s, steps=self.config.sft_steps)
        self.digests['sft'] = done['digest']
        return f"policy {done['digest'][:12]} published"

    def deploy(self) -> str:
        """Let the robots work under supervision while the learner learns from what they do."""
        config = self.config
        specs = fleet_processes(config, 'deploy', operator='supervise', learner=True, policy=True,
                                seed=config.deploy_seed, learner_config=str(self.learner_config))
        before = len(self.watch.metas)
        with Stage(config, 'deploy', specs, self.state, self.view) as stage:
            stage.run(config.deploy_s * PATIENCE, self._alive(
                config.startup_s, lambda: self._deployed_enough(stage.elapsed())),
                budget=config.deploy_s)
        self.watch.refresh()
        newest = read_channel(self.watch.store, 'stable')
        self.digests['final'] = newest.digest if newest else self.digests['sft']
        published = self.published() - 1  # without SFT
        if published < config.min_checkpoints:
            self.view.say(f'only {published} checkpoints were published, '
                          f'{config.min_checkpoints} expected: this run is too short to tell')
        return (f'{len(self.watch.metas) - before} episodes, {published} checkpoints published, '
                f"{self.state.total('loads')} loaded")

    def _deployed_enough(self, elapsed: float) -> bool:
        """Tell whether the time is over and what was learned has been tried on every robot."""
        if elapsed < self.config.deploy_s:
            return False
        return (len(robots_with_news(self.deployed())) >= self.config.robots
                and self.published() > self.config.min_checkpoints)

    def dagger(self) -> str:
        """Train the peer on the same bags."""
        done = self._train('dagger', self.config.dagger_s, steps=self.config.dagger_steps,
                           initial=self.digests['sft'])
        self.digests['dagger'] = done['digest']
        return f"policy {done['digest'][:12]}"

    def evaluate(self) -> str:
        """Compare the policies on the same held-out starts, in several processes."""
        config, count = self.config, self.config.evaluate_processes
        seeds = range(config.evaluate_seed, config.evaluate_seed + config.evaluate_episodes)
        names = [f'evaluate{index + 1}' for index in range(count)]
        specs = [job(config, 'evaluate', name, {
            'policies': {policy: self.digests[policy] for policy in POLICIES},
            'seeds': list(seeds[index::count]), 'block': BLOCK, 'seconds': config.evaluate_s,
            'execute_steps': self.execute_steps, 'lookahead': self.lookahead,
        }) for index, name in enumerate(names)]
        self._jobs('evaluate', specs, config.evaluate_s * len(POLICIES))
        self.rows = [row for name in names for row in result(config, name)]
        return f'{len(self.rows)} episodes'

    def illustrate(self) -> str:
        """Render rollouts and values for the report."""
        spec = job(self.config, 'illustrate', 'illustrate', {
            'digests': self.digests, 'rows': self.rows,
            'learner_config': str(self.learner_config),
            'execute_steps': self.execute_steps, 'lookahead': self.lookahead})
        self._jobs('illustrate', [spec], SLACK_S)
        self.pictures = result(self.config, 'illustrate')
        return 'pictures made'

    def _train(self, kind: str, seconds: float, **settings: Any) -> dict[str, Any]:
        spec = job(self.config, kind, kind, {
            'seconds': seconds, 'threads': THREADS,
            'learner_config': str(self.learner_config), **settings}, THREADS)
        self._jobs(kind, [spec], seconds)
        done: dict[str, Any] = result(self.config, kind)
        return done

    def _jobs(self, phase: str, specs: list[ProcessSpec], seconds: float) -> None:
        self.state.progress.clear()
        limit = seconds * PATIENCE + SLACK_S
        with Stage(self.config, phase, specs, self.state, self.view) as stage:
            if stage.run(limit, budget=seconds) >= limit:
                raise DemoError(f"phase '{phase}' is stuck: not done after {limit:.0f} s; logs in "
                                f'{self.config.run_dir}')
        self.state.progress.clear()

    def _alive(self, patience: float, done: Any) -> Any:
        """Wrap a condition: refresh the store, and refuse to wait for a fleet that is dumb."""
        began = time.monotonic()
        known = len(self.watch.metas)

        def condition() -> bool:
            self.watch.refresh()
            moved = len(self.watch.metas) > known or any(
                view.phase == 'running' for view in self.state.robots.values())
            self._moved = getattr(self, '_moved', False) or moved
            if not self._moved and time.monotonic() - began > patience:
                waits = '; '.join(f'{name}: episode {view.phase}, mode {view.mode or "none"}, '
                                  f'policy {view.policy or "none"} {view.reason}'
                                  for name, view in self.state.robots.items()) or 'no robot spoke'
                raise DemoError(f'no episode began in {patience:.0f} s ({waits}); logs in '
                                f'{self.config.run_dir / "log"}')
            return bool(done())

        self._moved = False
        return condition

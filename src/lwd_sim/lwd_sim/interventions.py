# SPDX-License-Identifier: Apache-2.0
"""Mixed episodes in process: the policy drives, a watching operator corrects, as on the robot."""
from collections.abc import Sequence

import numpy as np

from lwd_sim.collect import ARM_MASK, JOINT_NOISE
from lwd_sim.episode import Episode, Recorder, SOURCE_HUMAN, SOURCE_POLICY
from lwd_sim.evaluate import BatchPolicy, EXECUTE_STEPS, LOOKAHEAD, PolicyRun, run_lockstep
from lwd_sim.expert import Expert
from lwd_sim.supervisor import Supervisor, SupervisorConfig

ONLINE_SEED = 100_000


class SupervisedRun(PolicyRun):
    """An episode with an operator: the expert drives while the supervisor says so."""

    def __init__(self, task: str, seed: int, execute_steps: int, lookahead: int,
                 config: SupervisorConfig, noise: float) -> None:
        super().__init__(task, seed, execute_steps, lookahead, record=True)
        self.supervisor = Supervisor(self.world.task.time_limit, self.world.task.usual_time,
                                     config)
        self.expert = Expert(self.world.task)
        self.noise = noise * ARM_MASK
        self.rng = np.random.default_rng([seed, 2])
        self.reasons: list[tuple[int, str]] = []

    def wants_chunk(self) -> bool:
        """Ask the supervisor who drives this tick; nothing planned outlives a change."""
        reason = self.supervisor.watch(self.world)
        if reason is not None:
            self.reasons.append((self.world.steps, reason))
            self.late_chunk = None
            self.scheduler.reset(0)
        return not self.supervisor.human and super().wants_chunk()

    def step(self) -> None:
        """Execute the driver's action."""
        if not self.supervisor.human:
            super().step()
            return
        noise = self.noise * self.rng.standard_normal(len(self.noise))
        self.finish_step(self.expert.act(self.world) + noise, SOURCE_HUMAN)
        self.done = self.done or self.supervisor.gives_up

    def episode(self) -> Episode:
        """Return the recorded episode with its takeovers."""
        assert isinstance(self.recorder, Recorder)
        return self.recorder.finish(self.success, self.supervisor.takeovers, self.instruction,
                                    self.scorer.scores() if self.scorer else ())


def intervened_rollout(policy: BatchPolicy, tasks: Sequence[str], seeds: Sequence[int], *,
                       config: SupervisorConfig | None = None, noise: float = JOINT_NOISE,
                       execute_steps: int = EXECUTE_STEPS,
                       lookahead: int = LOOKAHEAD, pixels: bool = False) -> list[Episode]:
    """Run every task from every seed with a correcting operator; return tasks x seeds episodes."""
    runs = [SupervisedRun(task, seed, execute_steps, lookahead, config or SupervisorConfig(),
                          noise) for task in tasks for seed in seeds]
    run_lockstep(policy, runs, pixels)
    return [run.episode() for run in runs]


def human_share(episodes: Sequence[Episode]) -> float:
    """Return the share of control steps that the operator drove."""
    human = sum(int((episode.source == SOURCE_HUMAN).sum()) for episode in episodes)
    policy = sum(int((episode.source == SOURCE_POLICY).sum()) for episode in episodes)
    return human / max(1, human + policy)

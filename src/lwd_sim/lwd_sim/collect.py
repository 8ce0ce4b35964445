# SPDX-License-Identifier: Apache-2.0
"""Demonstrations in process: the expert drives, what it executed is stored, as a teleoperator's."""
import numpy as np

from lwd_sim.episode import Episode, Recorder, SOURCE_HUMAN
from lwd_sim.expert import Expert
from lwd_sim.names import ARMS, jaw_index
from lwd_sim.world import World

DEMONSTRATION_SEED = 10_000
JOINT_NOISE = 0.01       # rad; beyond .02 the expert begins to fail
ARM_MASK = np.ones(14)
ARM_MASK[[jaw_index(arm) for arm in ARMS]] = 0.0


def demonstrate(world: World, seed: int, noise: float = JOINT_NOISE,
                time_limit: int | None = None) -> Episode:
    """Return one episode driven by the expert, with noise on the arm joints of every step.

    The noisy action is stored: it is what the robot executed.
    """
    expert, recorder = Expert(world.task), Recorder(world)
    rng = np.random.default_rng([seed, 1])
    world.reset(seed)
    success = False
    for _ in range(time_limit or world.task.time_limit):
        action = expert.act(world) + noise * ARM_MASK * rng.standard_normal(14)
        success = recorder.step(action, SOURCE_HUMAN)
        if success:
            break
    return recorder.finish(success)


def collect(task: str, count: int, first_seed: int = DEMONSTRATION_SEED,
            noise: float = JOINT_NOISE, successes_only: bool = True) -> list[Episode]:
    """Return `count` demonstrations; failed ones are replaced by further seeds when asked to."""
    world = World(task)
    episodes: list[Episode] = []
    seed = first_seed
    while len(episodes) < count:
        episode = demonstrate(world, seed, noise)
        seed += 1
        if episode.success or not successes_only:
            episodes.append(episode)
        if seed - first_seed > 4 * count + 20:
            raise RuntimeError(f'task {task!r}: only {len(episodes)} of {seed - first_seed} '
                               f'demonstrations succeeded at noise {noise:g}')
    return episodes

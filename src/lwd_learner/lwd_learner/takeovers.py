# SPDX-License-Identifier: Apache-2.0
"""What a takeover says about what came before it: nothing (the paper), or that it failed.

An operator who rescues nearly every episode makes nearly every return 1: Q then says how well
policy and person do together, and hardly that the policy had gone wrong. `replay.takeover: failure`
ends what the policy did at a takeover with value 0; the correction and what follows stay ordinary.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lwd_learner.episodes import EpisodeArrays, SOURCE_HUMAN, SOURCE_POLICY

TAKEOVERS = ('ordinary', 'failure')


def cut_at_takeovers(episode: EpisodeArrays) -> list[EpisodeArrays]:
    """Return the episode in parts, each but the last ended as a failure by a person taking over.

    A part begins with the correction of the one before. Parts are named `<id>#<number>`.
    """
    human = episode.source == SOURCE_HUMAN
    took = np.flatnonzero(human[1:] & (episode.source[:-1] == SOURCE_POLICY)) + 1
    if not len(took):
        return [episode]
    bounds = [0, *took.tolist(), len(episode)]
    parts = []
    for number, (begin, end) in enumerate(zip(bounds, bounds[1:])):
        last = end == len(episode)
        rows = slice(begin, end)
        parts.append(replace(
            episode, episode_id=f'{episode.episode_id}#{number}',
            inputs={name: array[rows] for name, array in episode.inputs.items()},
            actions=episode.actions[rows], source=episode.source[rows], gaps=episode.gaps[rows],
            success=episode.success and last, terminal=episode.terminal if last else True))
    return parts

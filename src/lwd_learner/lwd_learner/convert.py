# SPDX-License-Identifier: Apache-2.0
"""One read episode becomes arrays, or is rejected with the reason."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwd_core import instruction
from lwd_core.flow.inputs import FeatureTrunk
from lwd_learner.config import ReplayConfig
from lwd_learner.episodes import EpisodeArrays, SOURCE_HOLD, SOURCE_POLICY

LOW_MOTION = 1e-4  # rad: a joint that moves less over an episode never moved
HOLD_SHARE = 0.5  # of an episode's ticks held: the robot mostly waited


class RejectedEpisode(ValueError):
    """An episode that is not learned from; the message is the reason."""


def convert(
    data: Any, digest: str, config: ReplayConfig, instruction_dim: int,
    trunk: FeatureTrunk | None, online_since: int | None,
) -> EpisodeArrays:
    """Turn EpisodeData into arrays.

    Rows equal `lwd_core.flow.inputs.observation_arrays` of the tick's Observation bit for bit.
    An episode is 'online' when the policy drove any of it and it was recorded after the online
    phase began (`online_since`, wall time in ns; None: it has not).
    """
    source = np.ascontiguousarray(data.source, np.uint8)
    ending = how_it_ended(data, config)
    recorded_ns = _wall_ns(data.meta.recorded_at)
    online = (online_since is not None and bool((source == SOURCE_POLICY).any())
              and (recorded_ns == 0 or recorded_ns >= online_since))
    return EpisodeArrays(
        episode_id=data.meta.id, digest=digest, task=data.meta.task,
        instruction=instruction.embed(data.meta.instruction, instruction_dim),
        inputs=_inputs(data, trunk),
        actions=np.ascontiguousarray(data.actions, np.float32),
        source=source, gaps=np.ascontiguousarray(data.gaps, np.bool_),
        success=ending[0], terminal=ending[1],
        origin='online' if online else 'offline',
        recorded_ns=recorded_ns,
        robot_digest=data.meta.robot_digest,
    )


def from_rollout(
    rollout: Any, name: str, origin: str, config: ReplayConfig | None = None,
    instruction_dim: int = instruction.DIM, features: NDArray[np.float32] | None = None,
) -> EpisodeArrays:
    """Turn an episode made in process into arrays.

    `rollout` has task, instruction, joints [T, J], state [T, S] (or None), actions [T, d],
    source [T] and success, as lwd_sim's episodes do. A failure is its time limit.
    `features` [T, F] are what a policy that sees gets instead of the state.
    """
    config = config or ReplayConfig()
    inputs = {'joints': np.asarray(rollout.joints, np.float32)}
    if features is not None:
        inputs['features'] = np.asarray(features, np.float32)
    elif rollout.state is not None:
        inputs['state'] = np.asarray(rollout.state, np.float32)
    return EpisodeArrays(
        episode_id=name, digest='', task=rollout.task,
        instruction=instruction.embed(rollout.instruction, instruction_dim), inputs=inputs,
        actions=np.asarray(rollout.actions, np.float32),
        source=np.asarray(rollout.source, np.uint8),
        gaps=np.zeros(len(rollout.actions), np.bool_), success=bool(rollout.success),
        terminal=bool(rollout.success) or config.time_limit_terminal, origin=origin,
    )


def how_it_ended(data: Any, config: ReplayConfig) -> tuple[bool, bool]:
    """Return (success, terminal): what the last tick earned, and whether anything could follow."""
    if data.success:
        return True, True
    if data.meta.stop_reason == 'time_limit':
        return False, config.time_limit_terminal
    return False, config.failure_terminal


def check(arrays: EpisodeArrays, min_ticks: int = 2) -> tuple[str, ...]:
    """Return warnings; raise RejectedEpisode for what nothing can be learned from.

    What is wrong with the recording itself, lwd_core's audit has said already.
    """
    moved = np.ptp(arrays.actions, axis=0)
    if len(arrays) < min_ticks:
        raise RejectedEpisode(
            f'{len(arrays)} ticks, replay.min_ticks is {min_ticks}: it ended before it began')
    if (moved < LOW_MOTION).all():
        raise RejectedEpisode(
            f'actions are constant over {len(arrays)} ticks: the robot was never moved')
    held = float(np.mean(arrays.source == SOURCE_HOLD))
    return (f'held for {held:.0%} of its ticks',) if held > HOLD_SHARE else ()


def _wall_ns(iso: str) -> int:
    """Return ISO 8601 wall time in ns since the epoch, 0 where there is none."""
    try:
        return int(datetime.fromisoformat(iso.replace('Z', '+00:00')).timestamp() * 1e9)
    except ValueError:
        return 0


def _inputs(data: Any, trunk: FeatureTrunk | None) -> dict[str, NDArray[Any]]:
    inputs: dict[str, NDArray[Any]] = {'joints': np.ascontiguousarray(data.joints, np.float32)}
    if trunk is not None:
        inputs['features'] = np.stack([
            np.asarray(trunk.features(observation.images, observation.joints), np.float32)
            for observation in map(data.observation, range(len(inputs['joints'])))
        ])
    elif data.state is not None:
        inputs['state'] = np.ascontiguousarray(data.state, np.float32)
    return inputs

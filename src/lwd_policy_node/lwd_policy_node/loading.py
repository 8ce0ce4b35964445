# SPDX-License-Identifier: Apache-2.0
"""Turn a checkpoint in the store into a policy that acts, verified and warmed."""

from __future__ import annotations

from dataclasses import dataclass
import time
from typing import Any, Protocol, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lwd_core.checkpoint import (
    CheckpointContents,
    CheckpointError,
    CheckpointRef,
    load_checkpoint,
)
from lwd_core.chunks.continuation import Continuation, TRAINED
from lwd_core.observation import Observation, ObservationSpec
from lwd_core.robot import RobotSpec, SpecError
from lwd_core.store import open_store, StoreAwayError, StoreError

if TYPE_CHECKING:
    from lwd_policy_node.backends.choice import Choice


class Acting(Protocol):
    """A policy as the worker uses it."""

    def act(self, observation: Observation, seed: int,
            *continuation: Continuation) -> NDArray[np.float32]:
        """Return the chunk [H, d] in robot units; deterministic.

        A policy that can continue a running chunk says so in `continues`, a tuple of the kinds in
        lwd_core.chunks.continuation, and takes one as its third argument. One that sets
        `seconds` after acting (by section: encode, sample) has them in the cadence report.
        """


@dataclass(frozen=True)
class LoadRequest:
    """Which checkpoint, from where, for which robot."""

    store: str
    robot: RobotSpec
    digest: str = ''  # 12 digits at least
    uri: str = ''  # where the store holds it; empty: it is looked for by digest
    flow_steps: int = 10
    min_horizon: int = 1
    observation: str = 'any'  # or the mode the policy must have
    continuation: str = ''  # kind of continuation that the scheduler needs
    backend: str = 'eager'  # what computes: a name in backends.BACKENDS, or auto
    # What a worker before this one was to compute it with: not measured again; auto: it is.
    measured: str = ''
    threads: int = 1  # that it computes with
    remote_file: str = ''  # says where a policy server is, for the loader of remote policies


@dataclass(frozen=True)
class Loaded:
    """A policy ready to act, and what the node must know of it."""

    policy: Acting
    digest: str
    step: int
    horizon: int
    mode: str
    cameras: tuple[str, ...]
    image_size: tuple[int, int]
    backend: str
    warm_s: float
    note: str = ''  # why this backend
    measured: str = ''  # what another worker is to compute it with, if not `backend`

    @property
    def description(self) -> dict[str, Any]:
        """Return everything but the policy, as plain data."""
        return {key: value for key, value in vars(self).items() if key != 'policy'}


def load(request: LoadRequest) -> Loaded:
    """Verify, build and warm the checkpoint.

    Raises CheckpointError with the reason, StoreAwayError where it says nothing of the checkpoint.
    """
    started = time.perf_counter()
    contents = _read(request)
    spec = observation_spec(contents.config, request.robot)
    if request.observation not in ('any', spec.mode):
        raise CheckpointError(f'observes {spec.mode}, this robot runs with observation '
                              f'{request.observation}')
    policy = _build(contents, request)
    choice = _choose_backend(policy, request)
    require_continuation(policy, request.continuation)
    horizon = int(contents.config['horizon'])
    if horizon < request.min_horizon:
        raise CheckpointError(f'chunk length is {horizon}, must be at least execute_steps, '
                              f'which is {request.min_horizon}')
    warm(policy, spec, request.robot, horizon, request.continuation)
    return Loaded(policy, str(contents.manifest['digest']), contents.step, horizon, spec.mode,
                  spec.cameras, spec.image_size, choice.engine.name,
                  time.perf_counter() - started, choice.note, choice.measured)


def require_continuation(policy: Acting, kind: str) -> None:
    """Refuse a policy that cannot continue chunks as the scheduler needs."""
    offered = getattr(policy, 'continues', ())
    if kind and kind not in offered:
        raise CheckpointError(
            'was not trained to continue a running chunk (max_delay is 0): use scheduler rtc, or '
            'train with max_delay' if kind == TRAINED and offered else
            f'offers no {kind} continuation: use scheduler synchronous or overlapped')


def _choose_backend(policy: Any, request: LoadRequest) -> Choice:
    """Let the backend asked for compute; return which it is and why."""
    import torch

    from lwd_policy_node.backends.choice import choose  # here: only the worker pays for torch
    if torch.get_num_threads() != request.threads:
        torch.set_num_threads(request.threads)
    sampler = policy.sampler()
    choice = choose(sampler, request.backend, 1 / request.robot.control_rate, request.threads,
                    request.measured)
    policy.use(sampler, choice.engine)
    return choice


def observation_spec(config: dict[str, Any], robot: RobotSpec) -> ObservationSpec:
    """Return what a policy of this configuration observes."""
    mode = 'state' if config.get('state_dim') else 'pixels'
    vision = config.get('vision', {})
    side = vision.get('image_size')
    try:
        return ObservationSpec.for_robot(
            robot, mode, vision.get('cameras'), None if side is None else (side, side))
    except SpecError as error:
        raise CheckpointError(f'does not fit this robot: {error}') from error


def blank_observation(spec: ObservationSpec, robot: RobotSpec) -> Observation:
    """Return an observation of the right shapes: the robot at home, black images."""
    width, height = spec.image_size
    images = {name: np.zeros((height, width, 3), np.uint8) for name in spec.cameras}
    state = np.zeros(len(spec.state_names), np.float32) if spec.mode == 'state' else None
    return Observation(0, np.array(robot.home, np.float32), images, state, 'warm up', {})


def warm(policy: Acting, spec: ObservationSpec, robot: RobotSpec, horizon: int,
         continuation: str = '') -> None:
    """Act twice on a blank observation; refuse wrong shapes, NaN and chunks that differ."""
    observation = blank_observation(spec, robot)
    try:
        first, second = (_act(policy, observation, continuation) for _ in range(2))
    except (ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(f'warm-up failed: {error}') from error
    wanted = (horizon, robot.action_dim)
    if first.shape != wanted:
        raise CheckpointError(f'warm-up gave a chunk of shape {first.shape}, must be {wanted}')
    if not np.isfinite(first).all():
        raise CheckpointError('warm-up gave a chunk that is not finite')
    if not np.array_equal(first, second):
        raise CheckpointError('warm-up gave two chunks for one observation and seed')


def _act(policy: Acting, observation: Observation, continuation: str) -> NDArray[np.float32]:
    chunk = policy.act(observation, 1)
    if not continuation or len(chunk) < 2:
        return chunk
    return policy.act(observation, 1, Continuation(chunk[1:], 1, continuation))


def _read(request: LoadRequest) -> CheckpointContents:
    wanted = CheckpointRef(request.digest, 0, request.uri) if request.uri else request.digest
    try:
        return load_checkpoint(open_store(request.store, create=False), wanted, request.robot)
    except (StoreError, CheckpointError, OSError) as error:
        if not _answers(request.store):
            raise StoreAwayError(f'the store does not answer: {error}') from error
        raise CheckpointError(str(error)) from error


def _answers(store: str) -> bool:
    """Say whether the store holds any checkpoint: one that is away looks empty, or not there."""
    try:
        return bool(open_store(store, create=False).children('checkpoints'))
    except (StoreError, OSError):
        return False


def _build(contents: CheckpointContents, request: LoadRequest) -> Acting:
    from lwd_core.flow.bundle import unpack_acting  # here: only the worker pays for torch
    try:
        return unpack_acting(contents.config, contents.normalization, contents.tensors,
                             request.flow_steps)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f'weights and configuration do not fit: {error}') from error

# SPDX-License-Identifier: Apache-2.0
"""A remote policy as the worker uses it: loaded like a checkpoint, acting by asking a server.

A chunk that does not come in time is a chunk that failed: the tick has no action, the arbiter holds
the robot, and the next tick asks again. The worker's supervision is the same as for local policies.
"""

from __future__ import annotations

import math
import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lwd_core.checkpoint import CheckpointError
from lwd_core.observation import Observation, ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_core.spec import SpecError
from lwd_policy_node.loading import blank_observation, Loaded, LoadRequest, require_continuation
from lwd_policy_node.remote.connection import Answer, Connection, ServerRefusedError
from lwd_policy_node.remote.spec import RemoteSpec


class RemotePolicy:
    """Asks the server for every chunk."""

    def __init__(self, spec: RemoteSpec, robot: RobotSpec) -> None:
        """Make a policy; it connects when it first acts."""
        self._spec, self._dim = spec, robot.action_dim
        self.connection = Connection(spec)
        self.seconds: dict[str, float] = {}  # of the newest chunk, by section

    def act(self, observation: Observation, seed: int) -> NDArray[np.float32]:
        """Return the chunk [H, d]; raises ServerAwayError, ServerRefusedError or ValueError."""
        started = time.perf_counter()
        question = self._question(observation, seed)
        asked = time.perf_counter()
        answer = self.connection.request(question)
        self._account(answer, asked - started)
        return self._chunk(answer.content)

    def _account(self, answer: Answer, packing: float) -> None:
        known = not math.isnan(answer.on_server)
        network = answer.round_trip - answer.on_server if known else 0.0
        self.seconds = {'encode': packing, 'network': network,
                        'sample': answer.on_server if known else answer.round_trip}

    def _question(self, observation: Observation, seed: int) -> dict[str, Any]:
        spec, question = self._spec, dict[str, Any]()
        for camera, key in spec.images.items():
            if camera not in observation.images:
                raise ValueError(f'the server wants camera {camera!r}, the observation has none')
            _put(question, key, _image(observation.images[camera], spec.image_size, spec.layout))
        _put(question, spec.state_key, np.asarray(observation.joints, np.float32))
        _put(question, spec.prompt_key, observation.instruction)
        if spec.seed_key:
            _put(question, spec.seed_key, seed)
        return question

    def _chunk(self, content: dict[Any, Any]) -> NDArray[np.float32]:
        spec = self._spec
        actions = content.get(spec.actions_key)
        if not isinstance(actions, np.ndarray):
            raise ValueError(f'the server sent no array {spec.actions_key!r}, only '
                             f'{sorted(map(str, content))}')
        if actions.ndim != 2 or len(actions) < spec.horizon or actions.shape[1] < self._dim:
            raise ValueError(f'the server sent {spec.actions_key} of shape {actions.shape}, must '
                             f'be at least ({spec.horizon}, {self._dim})')
        chunk = np.array(actions[:spec.horizon, :self._dim], np.float32)
        if not np.isfinite(chunk).all():
            raise ValueError('the server sent actions that are not finite')
        return chunk


def load(request: LoadRequest) -> Loaded:
    """Connect, ask for one chunk and return the policy; the loader of `remote_file`.

    Raises CheckpointError with the reason, ServerAwayError where the server does not answer.
    """
    started = time.perf_counter()
    robot = request.robot
    try:
        spec = RemoteSpec.from_yaml(request.remote_file, robot)
        observes = ObservationSpec.for_robot(robot, 'pixels', tuple(spec.images) or None)
    except SpecError as error:
        raise CheckpointError(str(error)) from error
    if spec.horizon < request.min_horizon:
        raise CheckpointError(f'chunk length is {spec.horizon}, must be at least execute_steps, '
                              f'which is {request.min_horizon}')
    policy = RemotePolicy(spec, robot)
    require_continuation(policy, request.continuation)
    try:
        policy.act(blank_observation(observes, robot), 0)
    except (ServerRefusedError, ValueError) as error:
        policy.connection.close()
        raise CheckpointError(f'{spec.url}: warm-up failed: {error}') from error
    note = ', '.join(f'{key}={value}' for key, value in policy.connection.metadata.items())
    return Loaded(policy, spec.digest, 0, spec.horizon, observes.mode, observes.cameras,
                  observes.image_size, 'remote', time.perf_counter() - started,
                  f'{spec.url} {note}'.strip()[:500])


def _put(mapping: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split('.')
    for group in groups:
        mapping = mapping.setdefault(group, {})
    mapping[last] = value


def _image(image: NDArray[np.uint8], size: int, layout: str) -> NDArray[np.uint8]:
    """Return the image in the server's size, its sides kept in proportion and padded in black."""
    if size:
        height, width = image.shape[:2]
        scale = size / max(height, width)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        if inner != (width, height):
            image = np.asarray(cv2.resize(image, inner, interpolation=cv2.INTER_AREA), np.uint8)
        if inner != (size, size):
            top, left = (size - inner[1]) // 2, (size - inner[0]) // 2
            padded = np.zeros((size, size, 3), np.uint8)
            padded[top:top + inner[1], left:left + inner[0]] = image
            image = padded
    return np.ascontiguousarray(image.transpose(2, 0, 1) if layout == 'chw' else image)

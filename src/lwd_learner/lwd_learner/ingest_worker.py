# SPDX-License-Identifier: Apache-2.0
"""A process that converts episodes: jobs come in on stdin, answers go out, a JSON line each.

    setup   {robot, tasks, observation, instruction_dim, replay, trunk}       once, first
    job     {job: {path, folder, digest, online_since}, cache}
    answer  {path, id, refused, reason, ...}, or {path, error} for a failing disk or network

Arrays go to the file `cache`, so that no array and no pickle crosses the pipe. It ends when stdin
does: a learner that is killed leaves no worker behind.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict
import json
from pathlib import Path
import sys
from typing import Any, TextIO

from lwd_core.flow.trunk import build_trunk, KeypointTrunk
from lwd_core.observation import ObservationSpec
from lwd_core.priority import freeze_garbage
from lwd_core.robot import RobotSpec
from lwd_learner.config import ReplayConfig
from lwd_learner.conversion import convert_job, IngestSettings, Job


def setup_message(settings: IngestSettings, trunk_file: Path) -> dict[str, Any]:
    """Return the setup as plain data; the trunk's weights are written to `trunk_file`."""
    trunk: dict[str, Any] | None = None
    if settings.trunk is not None:
        if not isinstance(settings.trunk, KeypointTrunk):
            raise TypeError(f'a {type(settings.trunk).__name__} cannot be sent to a worker')
        from safetensors.torch import save_file
        weights = {name: value.contiguous() for name, value in settings.trunk.state_dict().items()}
        save_file(weights, str(trunk_file))
        trunk = {'config': settings.trunk.to_dict(), 'file': str(trunk_file)}
    return {
        'robot': settings.robot.to_dict(), 'tasks': list(settings.tasks),
        'observation': asdict(settings.observation), 'instruction_dim': settings.instruction_dim,
        'replay': asdict(settings.replay), 'trunk': trunk}


def settings_of(message: dict[str, Any]) -> IngestSettings:
    """Return the settings that `setup_message` packed."""
    trunk = None
    if message['trunk'] is not None:
        from safetensors.torch import load_file
        trunk = build_trunk(message['trunk']['config'])
        trunk.load_state_dict(load_file(message['trunk']['file']))
    observation: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in message['observation'].items()}
    return IngestSettings(
        RobotSpec.from_dict(message['robot']), tuple(message['tasks']),
        ObservationSpec(**observation), message['instruction_dim'],
        ReplayConfig(**message['replay']), trunk)


def answer(message: dict[str, Any], settings: IngestSettings) -> dict[str, Any]:
    """Convert one job and cache its arrays."""
    job = Job(**message['job'])
    try:
        converted, arrays = convert_job(job, settings)
        if arrays is not None:
            arrays.save(Path(message['cache']), durable=False)
    except OSError as error:
        return {'path': job.path, 'error': f'{type(error).__name__}: {error}'}
    return asdict(converted)


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answer until the requests end."""
    settings: IngestSettings | None = None
    for line in requests:
        message = json.loads(line)
        if settings is None:
            settings = settings_of(message)
            freeze_garbage()  # an episode makes thousands of objects: collect those only
            continue
        print(json.dumps(answer(message, settings)), file=replies, flush=True)


def main() -> None:
    """Serve stdin and stdout, on one thread: the workers share the cores."""
    import cv2
    import torch
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    replies, sys.stdout = sys.stdout, sys.stderr  # whoever prints must not break a line
    with contextlib.suppress(BrokenPipeError):  # the learner was killed
        serve(sys.stdin, replies)


if __name__ == '__main__':
    main()

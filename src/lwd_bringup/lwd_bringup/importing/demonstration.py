# SPDX-License-Identifier: Apache-2.0
"""Write an imported demonstration as the recorder would have written it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
import hashlib
from pathlib import Path
import shutil
from typing import Any

import numpy as np

from lwd_core import topics
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.meta import EpisodeMeta, META
from lwd_core.episode.synthetic import Messages
from lwd_core.episode.writer import EpisodeBagWriter
from lwd_core.robot import RobotSpec
from lwd_core.store import Store

OUTCOMES = {'unlabelled': 0, 'success': 1, 'failure': 2}  # lwd_msgs/Outcome
_HUMAN, _LABELLED, _MODE_HUMAN = 2, 1, 2
_READY, _RUNNING, _IDLE = 2, 3, 0  # lwd_msgs/EpisodeState.phase
BY = 'import'


@dataclass(frozen=True)
class Source:
    """Where a demonstration comes from. The same source gives the same episode id, always."""

    format: str  # 'lerobot', 'rosbag2'
    path: str
    sha256: str  # of what was read

    def episode_id(self, robot: str, task: str) -> str:
        """Return the id of the episode that this source becomes."""
        name = ''.join(c if c.isalnum() or c in '_-' else '_' for c in task)[:40]
        key = hashlib.sha256(f'{self.format}/{self.sha256}/{robot}'.encode()).hexdigest()[:16]
        return f'import-{key}_{robot}_{name}'


@dataclass
class Demonstration:
    """One demonstration; stamps in ns on one clock.

    joints: (stamp, positions [J]) in robot units; images: (stamp, camera, JPEG); actions: (tick,
    [d]), what was sent at each tick.
    """

    source: Source
    task: str
    instruction: str
    outcome: str
    joints: list[tuple[int, np.ndarray]]
    images: list[tuple[int, str, bytes]]
    actions: list[tuple[int, np.ndarray]]
    human: list[bool] = field(default_factory=list)  # by action; all where it is empty
    clock: str = 'wall'
    recorded_at: str = ''


def write_demonstration(store: Store, robot: RobotSpec, name: str, demo: Demonstration,
                        scratch: Path) -> EpisodeMeta | None:
    """Put a demonstration of robot `name` into the store; None if it is there already.

    scratch: a folder for the bag until it is whole.
    """
    recorded_at = demo.recorded_at or datetime.now(timezone.utc).isoformat(timespec='milliseconds')
    episode_id = demo.source.episode_id(name, demo.task)
    if _present(store, name, episode_id):
        return None
    folder = scratch / episode_id
    shutil.rmtree(folder, ignore_errors=True)
    try:
        meta = _write(folder, robot, name, episode_id, demo, recorded_at)
        store.put_dir(folder, meta.store_path, META)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return meta


def _present(store: Store, name: str, episode_id: str) -> bool:
    return any(store.exists(f'episodes/{name}/{date}/{episode_id}/{META}')
               for date in store.children(f'episodes/{name}'))


def _write(folder: Path, robot: RobotSpec, name: str, episode_id: str, demo: Demonstration,
           recorded_at: str) -> EpisodeMeta:
    definitions = Definitions()
    messages = Messages(definitions)
    writer = EpisodeBagWriter(folder, episode_id, definitions)
    try:
        for spec in topics.robot_topics(robot.camera_names, robot.command_interface):
            writer.add_topic(spec, f'/{name}/{spec.name}')
        first, last = demo.actions[0][0], demo.actions[-1][0]
        for stamp, topic, message in _script(robot, name, episode_id, demo, messages, first, last):
            writer.write(f'/{name}/{topic}', messages.serialize(message), stamp)
        bag = writer.close({'episode_id': episode_id, 'imported': demo.source.format})
    except BaseException:
        writer.abort()
        raise
    meta = EpisodeMeta(
        id=episode_id, robot=name, robot_digest=robot.digest, robot_spec=robot.to_dict(),
        task=demo.task, instruction=demo.instruction, outcome=demo.outcome,
        stop_reason='labelled' if demo.outcome != 'unlabelled' else 'requested',
        start_mode='human', labelled_by=BY if demo.outcome != 'unlabelled' else '',
        clock=demo.clock, started_ns=first, ended_ns=last, recorded_at=recorded_at,
        detail=f'imported from {demo.source.format} {demo.source.path}',
        topics={t.topic: {'type': t.type, 'count': t.messages, 'bytes': t.bytes, 'lost': t.lost}
                for t in bag.topics.values()},
        bag={'file': bag.path.name, 'sha256': bag.sha256, 'bytes': bag.bytes},
        origin={'format': demo.source.format, 'path': demo.source.path,
                'sha256': demo.source.sha256})
    meta.write(folder)
    return meta


def _script(robot: RobotSpec, name: str, episode_id: str, demo: Demonstration,
            messages: Messages, first: int, last: int) -> list[tuple[int, str, Any]]:
    """Return (stamp, topic, message) by stamp; samples before the action of their tick."""
    names = list(robot.joint_names)
    entries: list[tuple[int, int, str, Any]] = []
    for stamp, positions in demo.joints:
        entries.append((stamp, 1, 'joint_states', messages.make(
            'sensor_msgs/msg/JointState', header=messages.header(stamp), name=names,
            position=np.asarray(positions, np.float64))))
    for stamp, camera, data in demo.images:
        entries.append((stamp, 1, topics.camera(camera).name, messages.make(
            'sensor_msgs/msg/CompressedImage', header=messages.header(stamp, camera),
            format='jpeg', data=np.frombuffer(data, np.uint8))))
    human = demo.human or [True] * len(demo.actions)
    for tick, ((stamp, action), driven) in enumerate(zip(demo.actions, human)):
        vector = np.asarray(action, np.float64)
        entries.append((stamp, 2, 'executed_action', messages.make(
            'lwd_msgs/msg/ExecutedAction', header=messages.header(stamp),
            source=_HUMAN if driven else 1, tick=tick, joint_names=names, requested=vector,
            sent=vector)))
    for phase, stamp, order in ((_READY, first, 0), (_RUNNING, first, 0), (_IDLE, last, 3)):
        entries.append((stamp, order, 'episode', messages.make(
            'lwd_msgs/msg/EpisodeState', header=messages.header(stamp), episode_id=episode_id,
            robot=name, task=demo.task, instruction=demo.instruction, phase=phase,
            start_mode=_MODE_HUMAN, stop_reason=_LABELLED if phase == _IDLE else 0,
            outcome=messages.make('lwd_msgs/msg/Outcome',
                                  value=OUTCOMES[demo.outcome] if phase == _IDLE else 0),
            started=messages.time(first), seed=-1,
            ended=messages.time(last if phase == _IDLE else 0))))
    entries.sort(key=lambda entry: entry[:2])
    return [(stamp, topic, message) for stamp, _, topic, message in entries]
